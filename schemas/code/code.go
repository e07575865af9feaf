// Package code is the one table of error and close codes. It is generated from
// codes.json, as are the table in codes.md and the JavaScript client's codes_gen.ts: change the JSON, then run go generate.
package code

//go:generate go run ./internal/gen

// Code is an error's code: the same word in frames, HTTP bodies and clients.
type Code string

// Info is what the table says of an error code.
type Info struct {
	// HTTP is the status that the HTTP API answers with.
	HTTP int
	// Retryable says whether sending the same again may succeed.
	Retryable bool
	Title     string
	Meaning   string
}

// Info returns the table's row; an unknown code gives that of Internal.
func (c Code) Info() Info {
	if i, ok := infos[c]; ok {
		return i
	}
	return infos[Internal]
}

// Known reports whether c is in the table.
func (c Code) Known() bool { _, ok := infos[c]; return ok }

// Close is a WebSocket close code (RFC 6455 §7.4). Of the private range, 4000 to 4499
// mean that the client may reconnect and 4500 to 4999 that it must not.
type Close int

// CloseInfo is what the table says of a close code.
type CloseInfo struct {
	Name string // the code's word, such as "goaway"
	// Reconnect says whether a client should come back by itself.
	Reconnect bool
	Meaning   string // one sentence for people
}

// Info returns the table's row; ok is false for a code that is not in it.
func (c Close) Info() (info CloseInfo, ok bool) { info, ok = closes[c]; return info, ok }

// Reconnect reports whether a client that was closed with c should come back: by the
// table, else by the range.
func (c Close) Reconnect() bool {
	if i, ok := closes[c]; ok {
		return i.Reconnect
	}
	return c < 4500
}

// String is the close code's name, and the reason sent with it.
func (c Close) String() string { return closes[c].Name }
