// Package code is the table of all error codes and WebSocket close codes. It is generated from codes.json, like the
// table in codes.md and the JavaScript client's codes_gen.ts and problems_gen.ts: change the JSON, then run
// go generate.
package code

//go:generate go run ./internal/gen

// Code is an error's code. It is the same in frames, in HTTP bodies and in clients.
type Code string

// Info is the table's row of an error code.
type Info struct {
	// HTTP is the status that the HTTP API answers with.
	HTTP int
	// Retryable says whether sending the same again may succeed.
	Retryable bool
	Title     string // a few words, sent as the problem's title
	Meaning   string // a sentence or two, for the documentation
}

// Info returns the table's row of the code. For an unknown code it returns that of Internal.
func (c Code) Info() Info {
	if i, ok := infos[c]; ok {
		return i
	}
	return infos[Internal]
}

// Known reports whether c is in the table.
func (c Code) Known() bool { _, ok := infos[c]; return ok }

// Close is a WebSocket close code (RFC 6455 §7.4). Within the range for private use, 4000 to 4499
// mean that the client may reconnect and 4500 to 4999 that it must not.
type Close int

// CloseInfo is the table's row of a close code.
type CloseInfo struct {
	Name string // the code's name, such as "slow_consumer"
	// Reconnect says whether a client should reconnect by itself.
	Reconnect bool
	Meaning   string // one sentence for people
}

// Info returns the table's row of the code; ok is false for a code that is not in the table.
func (c Close) Info() (info CloseInfo, ok bool) { info, ok = closes[c]; return info, ok }

// Reconnect reports whether a client that was closed with c should reconnect. The table decides; for a code that is not
// in it, the range does.
func (c Close) Reconnect() bool {
	if i, ok := closes[c]; ok {
		return i.Reconnect
	}
	return c < 4500
}

// String returns the close code's name, which is also sent as the close reason. It is empty for a code that is not in
// the table.
func (c Close) String() string { return closes[c].Name }
