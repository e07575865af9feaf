package processor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/text"
)

// Bounds of one line of a run's log.
const (
	maxLogMessage = 4 << 10 // bytes; a longer message is cut
	maxLogDepth   = 16      // groups within groups; deeper ones are left out
)

// Members of a line that the log itself sets. A handler's attribute of one of these names gets an underscore behind it.
var logMembers = []string{"time", "level", "message", "left_out"}

// logLine is one line of a run's log.
type logLine struct {
	at      time.Time
	level   slog.Level
	message string
	fields  map[string]any
}

// encode returns the line as a JSON object that begins with time, level and message. leftOut is how many lines before
// it were left out.
func (l logLine) encode(leftOut int64) (item []byte, err error) {
	b := []byte("{")
	member := func(name string, v any) {
		key, err1 := plainjson.Marshal(name)
		value, err2 := plainjson.Marshal(v)
		if err == nil {
			err = cmpErr(err1, err2)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	at := l.at
	if at.IsZero() {
		at = time.Now()
	}
	member("time", at.UTC().Format(time.RFC3339Nano))
	member("level", l.level.String())
	member("message", text.Clip(l.message, maxLogMessage))
	if leftOut > 0 {
		member("left_out", leftOut)
	}
	names := make([]string, 0, len(l.fields))
	for name := range l.fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		as := name
		for slices.Contains(logMembers, as) {
			as += "_"
		}
		if _, taken := l.fields[as]; as != name && taken {
			continue
		}
		member(as, l.fields[name])
		if len(b) > stream.MaxPiece {
			return nil, errLineTooLarge
		}
	}
	b = append(b, '}')
	if err == nil {
		err = checkItem(b)
	}
	return b, err
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// logScope is a list, from the innermost on, of what a logger adds to its lines.
type logScope struct {
	outer *logScope
	attrs []slog.Attr
	group string // if not empty, what is inside belongs to the group
}

// fields returns the attributes of a record and of the logger that made it. Of two of the same name the last counts.
func (s *logScope) fields(r slog.Record) map[string]any {
	var scopes []*logScope
	for at := s; at != nil; at = at.outer {
		scopes = append(scopes, at)
	}
	all := map[string]any{}
	into, depth := all, 0
	for _, at := range slices.Backward(scopes) {
		if at.group != "" {
			depth++
			into = groupIn(into, at.group)
		}
		for _, a := range at.attrs {
			addField(into, a, depth)
		}
	}
	r.Attrs(func(a slog.Attr) bool {
		addField(into, a, depth)
		return true
	})
	prune(all)
	return all
}

// prune removes groups without members, as slog's handlers do.
func prune(all map[string]any) {
	for name, v := range all {
		if inner, ok := v.(map[string]any); ok {
			prune(inner)
			if len(inner) == 0 {
				delete(all, name)
			}
		}
	}
}

// groupIn returns the group of that name, which it makes if there is none.
func groupIn(into map[string]any, name string) map[string]any {
	if inner, ok := into[name].(map[string]any); ok {
		return inner
	}
	inner := map[string]any{}
	into[name] = inner
	return inner
}

// addField adds an attribute. A group without a name adds its members.
func addField(into map[string]any, a slog.Attr, depth int) {
	v := a.Value.Resolve()
	switch {
	case a.Key == "" && v.Kind() != slog.KindGroup, depth >= maxLogDepth:
		return
	case v.Kind() != slog.KindGroup:
		into[a.Key] = fieldOf(v)
		return
	}
	if a.Key != "" {
		into = groupIn(into, a.Key)
	}
	for _, inner := range v.Group() {
		addField(into, inner, depth+1)
	}
}

// fieldOf returns a value that can be encoded as JSON: what the log of the standard library would write.
func fieldOf(v slog.Value) (field any) {
	defer func() {
		if p := recover(); p != nil { // in a method of the value
			field = "!PANIC"
		}
	}()
	switch v.Kind() {
	case slog.KindBool:
		return v.Bool()
	case slog.KindInt64:
		return v.Int64()
	case slog.KindUint64:
		return v.Uint64()
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return v.String()
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		return anyField(v.Any())
	}
	return v.String() // strings and durations
}

func anyField(v any) any {
	_, marshals := v.(json.Marshaler)
	if err, ok := v.(error); ok && !marshals {
		return err.Error()
	}
	raw, err := plainjson.Marshal(v)
	if err != nil || checkItem(raw) != nil {
		return fmt.Sprint(v)
	}
	return json.RawMessage(bytes.Clone(raw))
}
