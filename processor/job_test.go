package processor

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/event"
)

func TestLongMessagesAreCut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{"talk": func(_ context.Context, j *Job, _ []byte) (json.RawMessage,
			error) {
			j.Progress(1, strings.Repeat("é", 1000))
			return nil, nil
		}}))
		w.submit(request("a", "talk"), `1`)
		e := w.want("ended", "a", event.Claimed, event.Progress, event.Completed)[1]
		if n := len(e.Progress.Message); n != maxProgressMessage {
			t.Errorf("message of %d bytes", n)
		}
		if !json.Valid([]byte(`"` + e.Progress.Message + `"`)) {
			t.Error("message is not text")
		}
	})
}
