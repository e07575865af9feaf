package flags

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/external"
)

// Handlers are the settings of handlers in other programs: HTTP endpoints and commands.
type Handlers struct {
	Type           map[string]string `help:"Handler of a job type: an http(s) URL, or a command with its arguments, which is run without a shell. May be repeated." placeholder:"TYPE=URL|COMMAND" mapsep:"none"`
	HTTPTimeout    time.Duration     `name:"http-timeout" help:"Longest run of an endpoint, unless the job's own timeout is shorter." default:"10m"`
	CallbackListen string            `help:"Address at which endpoints that have answered 202 report their results." default:"127.0.0.1:0"`
	CallbackURL    string            `help:"URL under which endpoints reach callback-listen. By default it is made from the listener's address." placeholder:"URL"`
	Env            []string          `help:"Names of the environment variables that are passed on to commands." placeholder:"NAME"`
	Dir            string            `help:"Working directory of commands; by default a new one for each job." placeholder:"DIR"`
}

// Register registers the handlers with p. taken are job types that have a handler already. It returns the callback
// listener, which must run beside the processor; nil if no handler is an endpoint.
func (h Handlers) Register(
	ctx context.Context, p *processor.Processor, env service.Env, taken ...string,
) (*external.Callbacks, error) {
	isURL := func(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }
	var callbacks *external.Callbacks
	types := make([]string, 0, len(h.Type))
	for name, handler := range h.Type {
		types = append(types, name)
		if isURL(handler) && callbacks == nil {
			l, err := env.Listen(ctx, "tcp", h.CallbackListen)
			if err != nil {
				return nil, fmt.Errorf("callback listener: %w", err)
			}
			if callbacks, err = external.NewCallbacks(l, h.CallbackURL); err != nil {
				return nil, errors.Join(err, l.Close())
			}
		}
	}
	slices.Sort(types)
	for _, name := range types {
		if slices.Contains(taken, name) {
			return nil, fmt.Errorf("--type %s: the demo has a handler for it", name)
		}
		if handler := h.Type[name]; isURL(handler) {
			e, err := external.NewEndpoint(handler, h.HTTPTimeout, callbacks)
			if err != nil {
				return nil, fmt.Errorf("--type %s: %w", name, err)
			}
			processor.HandleRaw(p, name, e.Handle)
			env.Log.Info("handler", "type", name, "endpoint", service.Redact(handler))
			continue
		}
		argv, err := external.Words(h.Type[name])
		if err != nil {
			return nil, fmt.Errorf("--type %s: %w", name, err)
		}
		program, err := external.NewCommand(argv, h.Env, h.Dir)
		if err != nil {
			return nil, fmt.Errorf("--type %s: %w", name, err)
		}
		processor.HandleRaw(p, name, program.Handle)
		env.Log.Info("handler", "type", name, "command", argv[0])
	}
	return callbacks, nil
}
