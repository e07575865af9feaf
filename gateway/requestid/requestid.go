package requestid

import "context"

// Header is the header of an answer that names its request.
const Header = "X-Request-Id"

type key struct{}

// With returns a context of what is done for a request: the ID of an HTTP request, or the name of a socket.
func With(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, key{}, name)
}

// Of returns what With was given, or "".
func Of(ctx context.Context) string {
	name, _ := ctx.Value(key{}).(string)
	return name
}
