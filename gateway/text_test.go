package gateway

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// What is not UTF-8 is refused at every door, at once: no tracker is asked (there is none here).
func TestNotUTF8(t *testing.T) {
	g, err := New(letsIn(), quietEnv())
	if err != nil {
		t.Fatal(err)
	}
	g.build(nil, nil, nil)
	handler := g.api.Handler()
	for _, target := range []string{
		"/v1/jobs?subject=%ff", "/v1/jobs?%ff=1", "/v1/jobs?type=a%C3", "/v1/jobs?cursor=%80", "/v1/jobs?subject=%zz",
		"/v1/events?job=%ff", "/v1/events?mine=%ff", "/v1/ws?ticket=%ff", "/v1/ws?ticket=a&x=%ff",
		"/v1/jobs/%ff", "/v1/jobs/%ff/why", "/v1/jobs/%ff/result", "/v1/jobs/%ff/deliveries", "/v1/jobs/%ff/events",
		"/v1/stats?%ff", "/v1/%ff",
	} {
		for _, method := range []string{"GET", "POST"} {
			began, answer := time.Now(), httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(method, target, nil))
			if answer.Code != http.StatusBadRequest || !strings.Contains(answer.Body.String(), `"invalid_frame"`) ||
				time.Since(began) > time.Second {
				t.Errorf("%s %s: %d %s after %s", method, target, answer.Code, answer.Body, time.Since(began))
			}
		}
	}
}

func TestJobIDsOfEitherCase(t *testing.T) {
	const id = "01a208fd-2dc6-7467-acd5-bb987da2c71e"
	asked, err := frame.ParseEventsQuery("job=" + strings.ToUpper(id) + "&job=" + id)
	if err != nil || !slices.Equal(asked.Jobs, []string{id}) {
		t.Errorf("events: %q, %v", asked.Jobs, err)
	}
	if got, ok := job.ParseID(strings.ToUpper(id)); !ok || got != id {
		t.Error(got)
	}
}

func quietEnv() service.Env {
	return service.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}
