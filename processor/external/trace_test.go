package external_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor/external"
)

// TestATraceReachesOtherLanguages: the trace is in the headers of the endpoint's request and in the command's
// environment; without a trace neither is set.
func TestATraceReachesOtherLanguages(t *testing.T) {
	const parent, state = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1"
	command, err := external.NewCommand([]string{"sh", "-c",
		`echo "{\"result\":\"${TRACEPARENT-none} ${TRACESTATE-none}\"}"`}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint(t, time.Minute, nil, func(w http.ResponseWriter, r *http.Request) {
		said := func(name string) string {
			if v := r.Header.Get(name); v != "" {
				return v
			}
			return "none"
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `"`+said("Traceparent")+" "+said("Tracestate")+`"`)
	})
	within := tracing.With(t.Context(), tracing.Parse(parent, state))
	for what, got := range map[string]string{
		"endpoint": string(handle(t, within, e, 0).Result),
		"command":  string(handle(t, within, command.Handle, 0).Result),
	} {
		if want := `"` + parent + " " + state + `"`; got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	for what, got := range map[string]string{
		"endpoint": string(handle(t, t.Context(), e, 0).Result),
		"command":  string(handle(t, t.Context(), command.Handle, 0).Result),
	} {
		if got != `"none none"` {
			t.Errorf("%s without a trace: %s", what, got)
		}
	}
}
