package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
)

// traffic is what a day brings, in a minute: jobs that succeed, fail, are retried, run into
// their bounds, are cancelled or refused; webhooks that arrive or do not; sockets that come and
// go; requests over HTTP; event streams; a client that floods.
type traffic struct {
	t        *testing.T
	url      string
	endpoint *httptest.Server // where webhooks go
	client   *ackwire.Client
	n        atomic.Int64
	failures atomic.Int64 // deeds that did not end as they should: a slow machine has some
}

// Bounds of the traffic: the tests are of what is shown, not of speed.
const (
	trafficPace     = 25 * time.Millisecond // between two deeds
	trafficAtOnce   = 64
	floodFrames     = 1500 // above a session's burst
	floodPause      = 2 * time.Second
	trafficRequests = 10 * time.Second
	failuresTold    = 5
)

func newTraffic(t *testing.T) *traffic {
	t.Helper()
	var calls atomic.Int64
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1)%4 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(endpoint.Close)
	return &traffic{t: t, endpoint: endpoint}
}

// run goes on until ctx ends, and returns when all that it began has ended.
func (tr *traffic) run(ctx context.Context, url string) {
	tr.url = url
	c, err := ackwire.Dial(ctx, url)
	if err != nil {
		tr.t.Errorf("traffic: %v", err)
		return
	}
	defer c.Close()
	tr.client = c
	deeds := []func(context.Context) error{
		tr.echo, tr.sleep, tr.flaky, tr.report, tr.fail, tr.keyed, tr.webhook, tr.panics, tr.refused, tr.late,
		tr.cancelled, tr.visit, tr.overHTTP, tr.eventStream, tr.written, tr.echo, tr.sleep,
	}
	var going sync.WaitGroup
	room := make(chan struct{}, trafficAtOnce)
	going.Go(func() { tr.flood(ctx) })
	tick := time.NewTicker(trafficPace)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		select {
		case room <- struct{}{}:
			deed := deeds[i%len(deeds)]
			going.Go(func() {
				defer func() { <-room }()
				if err := deed(ctx); err != nil && ctx.Err() == nil && tr.failures.Add(1) <= failuresTold {
					tr.t.Logf("traffic: %v", err)
				}
			})
		default: // who waits for slow jobs does not stop the rest
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	going.Wait()
}

func (tr *traffic) submit(ctx context.Context, jobType, payload string, opts ...ackwire.SubmitOption) error {
	opts = append([]ackwire.SubmitOption{ackwire.NoKey()}, opts...)
	j, err := tr.client.Submit(ctx, jobType, raw(payload), opts...)
	if err != nil {
		return fmt.Errorf("%s: %w", jobType, err)
	}
	_, err = j.Wait(ctx)
	return err
}

func (tr *traffic) echo(ctx context.Context) error { return tr.submit(ctx, "demo.echo", `{"n":1}`) }

func (tr *traffic) sleep(ctx context.Context) error {
	return tr.submit(ctx, "demo.sleep", fmt.Sprintf(`{"seconds":%.1f,"steps":4}`, float64(1+tr.n.Add(1)%9)/5))
}

func (tr *traffic) flaky(ctx context.Context) error {
	return tr.submit(ctx, "demo.flaky", fmt.Sprintf(`{"failures":%d}`, 1+tr.n.Add(1)%3))
}

func (tr *traffic) report(ctx context.Context) error {
	return tr.submit(ctx, "report.generate", `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`)
}

func (tr *traffic) fail(ctx context.Context) error {
	return tr.submit(ctx, "demo.fail", `{"message":"out of paper"}`)
}

func (tr *traffic) panics(ctx context.Context) error { return tr.submit(ctx, "demo.panic", `{}`) }

func (tr *traffic) keyed(ctx context.Context) error {
	return tr.submit(ctx, "demo.echo", `{"n":2}`, ackwire.Key(fmt.Sprint("key ", tr.n.Add(1)/3)))
}

func (tr *traffic) webhook(ctx context.Context) error {
	return tr.submit(ctx, "demo.echo", `{"n":3}`, ackwire.CallbackURL(tr.endpoint.URL, job.Completed))
}

// late is not done by its deadline.
func (tr *traffic) late(ctx context.Context) error {
	return tr.submit(ctx, "demo.sleep", `{"seconds":5,"steps":5}`, ackwire.Deadline(time.Second))
}

func (tr *traffic) refused(ctx context.Context) error {
	for jobType, payload := range map[string]string{"demo.sleep": `{"seconds":"long"}`, "no.such": `{}`} {
		_, err := tr.client.Submit(ctx, jobType, raw(payload))
		var e *ackwire.Error
		if !errors.As(err, &e) {
			return fmt.Errorf("%s was not refused: %w", jobType, err)
		}
	}
	return nil
}

func (tr *traffic) cancelled(ctx context.Context) error {
	j, err := tr.client.Submit(ctx, "demo.sleep", raw(`{"seconds":30,"steps":30}`))
	if err != nil {
		return err
	}
	if _, err := tr.client.Job(j.ID).Cancel(ctx); err != nil {
		return err
	}
	_, err = j.Wait(ctx)
	return err
}

// visit is a socket that comes, asks and goes.
func (tr *traffic) visit(ctx context.Context) error {
	c, err := ackwire.Dial(ctx, tr.url)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

func (tr *traffic) overHTTP(ctx context.Context) error {
	id, err := tr.post(ctx, `{"job":"demo.echo","payload":1}`)
	if err != nil {
		return err
	}
	for _, path := range []string{"/v1/jobs/" + id, "/v1/jobs/" + id + "/why", "/v1/jobs?limit=5", "/v1/stats",
		"/v1/jobs/nonsense"} {
		if err := tr.get(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// eventStream lasts until its job has ended.
func (tr *traffic) eventStream(ctx context.Context) error {
	id, err := tr.post(ctx, `{"job":"demo.sleep","payload":{"seconds":1,"steps":4}}`)
	if err != nil {
		return err
	}
	return tr.get(ctx, "/v1/jobs/"+id+"/events")
}

// written is a job that streams, which one client follows live, and another reads from its beginning.
func (tr *traffic) written(ctx context.Context) error {
	id, err := tr.post(ctx, `{"job":"demo.write","payload":{"words":40}}`)
	if err != nil {
		return err
	}
	for _, path := range []string{"?offset=-1&live=sse", ""} {
		if err := tr.get(ctx, "/v1/jobs/"+id+"/streams/tokens"+path); err != nil {
			return err
		}
	}
	return nil
}

func (tr *traffic) post(ctx context.Context, body string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, trafficRequests)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tr.url+"/v1/jobs", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	_, id, _ = strings.Cut(resp.Header.Get("Location"), "/v1/jobs/")
	if resp.StatusCode != http.StatusAccepted || id == "" {
		return "", fmt.Errorf("POST /v1/jobs: %s", resp.Status)
	}
	return id, nil
}

func (tr *traffic) get(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, trafficRequests)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tr.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// flood sends more frames than a session may, again and again, on sockets of its own.
func (tr *traffic) flood(ctx context.Context) {
	for ctx.Err() == nil {
		conn, _, err := websocket.Dial(ctx, tr.url+"/v1/ws", &websocket.DialOptions{Subprotocols: []string{"ackwire.v1"}})
		if err != nil {
			if ctx.Err() == nil {
				tr.t.Errorf("flood: %v", err)
			}
			return
		}
		ended := make(chan struct{})
		go func() { // answers are read, or the server would wait for us
			defer close(ended)
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
			}
		}()
		for i := 0; i < floodFrames && err == nil; i++ {
			err = conn.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","id":"1"}`))
		}
		pause.For(ctx, floodPause)
		_ = conn.CloseNow()
		<-ended
	}
}
