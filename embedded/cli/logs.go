package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// entries prints the entries of a log, in a line each.
func (p *streamPrinter) entries(c ackwire.Chunk) error {
	for _, item := range c.Items {
		if p.v.flags.JSON {
			p.v.line(item)
			continue
		}
		if _, err := fmt.Fprintln(p.v.env.Stdout, entryText(item)); err != nil {
			return err
		}
	}
	return nil
}

// entryText returns an entry of a log for people: its time, level and message, and then what the handler has added.
func entryText(item json.RawMessage) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(item, &members) != nil || members == nil {
		return clip(clean(string(item)), maxLineChars)
	}
	text := func(name string) string {
		var s string
		_ = json.Unmarshal(members[name], &s) // anything else is shown with what the handler has added
		if s != "" {
			delete(members, name)
		}
		return s
	}
	at, level, message := text("time"), text("level"), text("message")
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		at = t.Local().Format("15:04:05.000")
	}
	parts := []string{fmt.Sprintf("%-12s %-5s %s", clean(at), strings.ToUpper(clean(level)), clean(message))}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		parts = append(parts, clean(name)+"="+valueText(members[name]))
	}
	return clip(strings.Join(parts, " "), maxLineChars)
}

// valueText returns the value of an attribute: a word as it is, anything else as JSON.
func valueText(raw json.RawMessage) string {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		var b bytes.Buffer
		if json.Compact(&b, raw) != nil {
			return "?" // unreachable: it is part of what was decoded
		}
		return clean(b.String())
	}
	if s = clean(s); s != "" && !strings.ContainsAny(s, " =\"") {
		return s
	}
	quoted, _ := plainjson.Marshal(s) // strings always marshal
	return string(quoted)
}
