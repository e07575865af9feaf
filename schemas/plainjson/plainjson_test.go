package plainjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// TestNoByteGrows: users' data has the same number of bytes in every message that contains it.
func TestNoByteGrows(t *testing.T) {
	const size = 64 << 10
	text := strings.Repeat("<&>", size/3)
	raw := json.RawMessage(`{"a":"` + text + `"}`)
	for name, v := range map[string]any{
		"a string":         text,
		"a raw value":      raw,
		"a document":       &job.Document{JobID: "j", Result: raw},
		"a list":           frame.JobList{Jobs: []json.RawMessage{raw}},
		"a delivery":       frame.Deliveries{Deliveries: []frame.Delivery{{Job: raw}}},
		"an event":         event.Event{Result: raw},
		"a webhook":        webhook.Message{Data: webhook.Data{Job: raw}},
		"a webhook's work": webhook.Request{Body: raw},
		"a problem":        frame.Problem{Detail: text},
		"a map":            map[string]any{text: text},
		"nothing":          nil,
	} {
		got, err := plainjson.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if most := 2*size + 512; len(got) > most {
			t.Errorf("%s takes %d bytes, want at most %d", name, len(got), most)
		}
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		unescaped := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(want))
		if string(got) != unescaped {
			t.Errorf("%s is not what json.Marshal makes of it, but for the escapes", name)
		}
	}
}

// TestCompacts: a raw value loses its white space, as with json.Marshal, and invalid JSON is refused.
func TestCompacts(t *testing.T) {
	got, err := plainjson.Marshal(json.RawMessage(" { \"a\" : [ 1 ,\n2 ] } "))
	if err != nil || string(got) != `{"a":[1,2]}` {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := plainjson.Marshal(json.RawMessage(`{"a":`)); err == nil {
		t.Errorf("half a value became %s", got)
	}
}
