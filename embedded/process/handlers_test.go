package process

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestServeWithHandlersOfOnesOwn: one process runs a command and calls an endpoint, which answers at
// once or later, beside the broker and the services.
func TestServeWithHandlersOfOnesOwn(t *testing.T) {
	types := jobTypes(t, "types:\n  text.count: {}\n  text.upper: {resultSchema: {maxLength: 5}}\n")
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		upper := bytes.ToUpper(payload)
		if bytes.Equal(payload, []byte(`"now"`)) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(upper)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		callback := r.Header.Get("Ackwire-Callback")
		go func() { // as a program that has taken the work into its own queue
			resp, err := http.Post(callback, "application/json", strings.NewReader(`{"result":`+string(upper)+`}`))
			if err == nil {
				_ = resp.Body.Close()
			}
		}()
	}))
	defer endpoint.Close()
	a := addrs(t, 4)
	start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), "--job-types", types,
		"--type", "text.count=wc -c", "--type", "text.upper="+endpoint.URL)...)
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	c, err := ackwire.NewHTTP("http://" + a[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for _, w := range []struct{ jobType, payload, want, code string }{
		{"text.count", `"hello"`, "7", ""}, {"text.upper", `"now"`, `"NOW"`, ""},
		{"text.upper", `"later"`, `"LATER"`, ""}, {"text.upper", `"above its schema's bound"`, ``, job.CodeInvalidResult},
	} {
		j, err := c.Submit(ctx, w.jobType, json.RawMessage(w.payload))
		if err != nil {
			t.Fatal(err)
		}
		s, err := j.Wait(ctx)
		ended := err == nil && s.State == job.Completed && string(s.Result) == w.want
		if w.code != "" {
			ended = err == nil && s.State == job.Failed && s.Error != nil && s.Error.Code == w.code && s.Attempt == 1
		}
		if !ended {
			t.Errorf("%s %s: %s %s, %+v, %v, want %s%s", w.jobType, w.payload, s.State, s.Result, s.Error, err, w.want, w.code)
		}
	}
}
