package ackwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// overHTTP makes a client without a socket.
func overHTTP(t *testing.T, url string, opts ...Option) *HTTPClient {
	t.Helper()
	c, err := NewHTTP(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// answers is a server that gives one answer after the other and records the requests.
type answers struct {
	t    *testing.T
	next []http.HandlerFunc

	mu    sync.Mutex // guards what follows
	asked []string
}

// all returns the requests so far.
func (a *answers) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	n := len(a.asked)
	a.asked = append(a.asked, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	a.mu.Unlock()
	if n >= len(a.next) {
		a.t.Errorf("one request too many: %s %s", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	a.next[n](w, r)
}

// inHTTPBubble runs a test in a bubble, against a server with these answers.
func inHTTPBubble(t *testing.T, test func(t *testing.T, c *HTTPClient, a *answers), next ...http.HandlerFunc) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &answers{t: t, next: next}
		ln := newPipeListener()
		srv := &http.Server{Handler: a}
		done := make(chan struct{})
		go func() { _ = srv.Serve(ln); close(done) }()
		c := overHTTP(t, "https://ackwire.test/", WithHTTPClient(&http.Client{Transport: &http.Transport{
			DialTLSContext:    func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.dial(ctx) },
			DisableKeepAlives: true,
		}}), WithTokenSource(func(context.Context) (string, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return fmt.Sprintf("token-%d", len(a.asked)), nil
		}))
		test(t, c, a)
		_ = srv.Close()
		<-done
		synctest.Wait()
		if asked := a.all(); len(asked) != len(next) {
			t.Errorf("%d requests, want %d: %q", len(asked), len(next), asked)
		}
	})
}

// says answers with a status and a body; headers are pairs.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// refuses answers with a problem.
func refuses(c code.Code) http.HandlerFunc {
	i := c.Info()
	return says(i.HTTP, fmt.Sprintf(`{"code":%q,"title":%q,"retryable":%t,"jobId":"j1"}`, c, i.Title, i.Retryable))
}

func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const acked = `{"jobId":"j1","state":"scheduled","statusUrl":"/v1/jobs/j1","duplicate":true}`

func TestSubmitOverHTTP(t *testing.T) {
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, a *answers) {
		j, err := c.Submit(t.Context(), "a.b", 1, Key("k"), NoWatch(), Trace("00-1-2-01", "v=1"), Timeout(time.Second))
		if err != nil || j.ID != "j1" || j.State != job.Scheduled || j.StatusURL != "/v1/jobs/j1" || !j.Duplicate {
			t.Errorf("%+v, %v", j, err)
		}
		if want := `POST /v1/jobs {"job":"a.b","payload":1,"key":"k","timeout":1}`; a.all()[0] != want {
			t.Errorf("sent %s\nwant %s", a.all()[0], want)
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		if h.Get("Traceparent") != "00-1-2-01" || h.Get("Tracestate") != "v=1" ||
			h.Get("Authorization") != "Bearer token-0" ||
			h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
		says(202, acked)(w, r)
	})
}

// The outcome of a submit is not known if the connection broke, a proxy in between answered, or Ackwire says so.
func TestSubmitOverHTTPOfUnknownOutcome(t *testing.T) {
	for name, unknown := range map[string]http.HandlerFunc{
		"the connection is lost":     hangsUp,
		"a proxy answers":            says(http.StatusBadGateway, "<html>"),
		"a proxy is out of patience": says(http.StatusGatewayTimeout, ""),
		"the answer is none":         says(http.StatusAccepted, "<html>"),
		"Ackwire does not know":      refuses(code.Indeterminate),
	} {
		t.Run(name, func(t *testing.T) {
			inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
				_, err := c.Submit(t.Context(), "a.b", 1, NoKey())
				if !errors.Is(err, ErrIndeterminate) {
					t.Errorf("without a key: %v", err)
				}
			}, unknown)
			inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
				if j, err := c.Submit(t.Context(), "a.b", 1, Key("k")); err != nil || j.ID != "j1" {
					t.Errorf("with a key: %+v, %v", j, err)
				}
			}, unknown, refuses(code.Unavailable), unknown, says(202, acked)) // the doubt stays until an ack
			inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
				_, err := c.Submit(t.Context(), "a.b", 1, Key("k"))
				if CodeOf(err) != code.IdempotencyKeyReused || errors.Is(err, ErrIndeterminate) {
					t.Errorf("settled by a refusal for good: %v", err)
				}
			}, unknown, refuses(code.IdempotencyKeyReused))
		})
	}
}

func TestSubmitOverHTTPRefused(t *testing.T) {
	for _, c := range []code.Code{code.Unavailable, code.Overloaded, code.RateLimited, code.ValidationFailed} {
		inHTTPBubble(t, func(t *testing.T, cl *HTTPClient, _ *answers) {
			_, err := cl.Submit(t.Context(), "a.b", 1, Key("k"))
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != c || errors.Is(err, ErrIndeterminate) ||
				e.Status != c.Info().HTTP {
				t.Errorf("%s: %v", c, err)
			}
		}, refuses(c))
	}
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) { // a new token, once
		if _, err := c.Submit(t.Context(), "a.b", 1); err != nil {
			t.Error(err)
		}
	}, refuses(code.Unauthenticated), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-1" {
			t.Errorf("the token is %s", r.Header.Get("Authorization"))
		}
		says(202, acked)(w, r)
	})
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		if _, err := c.Submit(t.Context(), "a.b", 1); CodeOf(err) != code.Unauthenticated {
			t.Errorf("two bad tokens: %v", err)
		}
	}, refuses(code.Unauthenticated), refuses(code.Unauthenticated))
}

// Nothing was sent to a server that cannot be reached: the outcome is known, and a submit with a key fails at once too.
func TestSubmitOverHTTPUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overHTTP(t, "http://ackwire.test", WithDialContext(func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no route to host")
		}))
		_, err := c.Submit(t.Context(), "a.b", 1, Key("k"))
		if err == nil || errors.Is(err, ErrIndeterminate) || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("submit: %v", err)
		}
		if _, err := c.Job("j1").Retry(t.Context()); err == nil || errors.Is(err, ErrIndeterminate) {
			t.Errorf("retry: %v", err)
		}
		if _, err := c.Job("j1").Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("wait: %v", err)
		}
		if got, err := collect(t, c.Job("j1").Watch(t.Context())).end(); got != "" || err == nil {
			t.Errorf("watch: %q, %v", got, err)
		}
	})
}

func TestOrdersOverHTTP(t *testing.T) {
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, a *answers) {
		if state, err := c.Job("j1").Cancel(t.Context()); err != nil || state != job.Scheduled {
			t.Errorf("cancel: %s, %v", state, err)
		}
		if _, err := c.Job("j1").Cancel(t.Context()); err == nil || errors.Is(err, ErrIndeterminate) {
			t.Errorf("a cancel that broke off may be said again: %v", err)
		}
		if _, err := c.Job("j1").Retry(t.Context()); !errors.Is(err, ErrIndeterminate) {
			t.Errorf("a retry that broke off: %v", err)
		}
		if _, err := c.Job("j1").Retry(t.Context()); CodeOf(err) != code.InvalidState {
			t.Errorf("a retry that is refused: %v", err)
		}
		if _, err := c.Job("no such\nid").Retry(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("an ID that is none: %v", err)
		}
		if strings.Join(a.all()[:3], ", ") != "POST /v1/jobs/j1/cancel, POST /v1/jobs/j1/cancel, POST /v1/jobs/j1/retry" {
			t.Errorf("asked %q", a.all())
		}
	}, says(202, acked), hangsUp, hangsUp, refuses(code.InvalidState))
}

func TestWaitOverHTTP(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) { // as the server does it
		if r.Header.Get("Prefer") != "wait=20" {
			t.Errorf("Prefer %q", r.Header.Get("Prefer"))
		}
		select {
		case <-time.After(20 * time.Second):
		case <-r.Context().Done():
		}
		says(200, document("j1", "processing"), "ETag", `"4"`)(w, r)
	}
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		began := time.Now()
		st, err := c.Job("j1").Wait(t.Context())
		if err != nil || st.State != job.Failed || st.Version != 9 {
			t.Errorf("%+v, %v", st, err)
		}
		if took := time.Since(began); took < 41*time.Second || took > 60*time.Second {
			t.Errorf("it took %s", took)
		}
	}, slow, says(200, document("j1", "processing"), "ETag", `"5"`), // at once: the server drains
		hangsUp, refuses(code.Unavailable), slow, says(200, document("j1", "failed"), "ETag", `"9"`))
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		if _, err := c.Job("j1").Wait(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("a job that has expired meanwhile: %v", err)
		}
		if _, err := c.Job("j1").Wait(t.Context()); CodeOf(err) != code.Unavailable {
			t.Errorf("a server that does not answer at first: %v", err)
		}
	}, slow, refuses(code.NotFound), refuses(code.Unavailable))
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := c.Job("j1").Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}, slow, slow)
}

// streams answers with an event stream; then it ends, or is cut off.
func streams(lastID, text string, cutOff bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Last-Event-ID"); got != lastID || r.Header.Get("Accept") != "text/event-stream" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		says(200, text, "Content-Type", "text/event-stream")(w, r)
		if cutOff {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func told(version int, state string) string {
	return fmt.Sprintf("id: %d\nevent: status\ndata: %s\n\n", version, document("j1", state))
}

func TestWatchOverHTTP(t *testing.T) {
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		got, err := collect(t, c.Job("j1").Watch(t.Context(), After(2))).end()
		if got != "pending@3 processing@4 processing@5 completed@9" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	},
		streams("2", "retry: 1000\n\n: still here\n\n"+told(3, "pending")+told(4, "processing"), true),
		refuses(code.Unavailable), hangsUp,
		streams("4", told(4, "processing")+told(5, "processing")+"event: goaway\ndata: {}\n\n"+told(6, "processing"), false),
		streams("5", "event: unheard-of\ndata: {}\n\nid:9\nevent:status\ndata:"+document("j1", "completed")+"\n\n"+
			told(10, "pending"), false))
}

func TestWatchOverHTTPEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		next []http.HandlerFunc
		opts []WatchOption
		want string
		is   error
		code code.Code
	}{
		"the end was seen":     {[]http.HandlerFunc{says(204, "")}, []WatchOption{After(7)}, "", nil, ""},
		"no such job":          {[]http.HandlerFunc{refuses(code.NotFound)}, nil, "", ErrNotFound, code.NotFound},
		"not answered at once": {[]http.HandlerFunc{refuses(code.Unavailable)}, nil, "", nil, code.Unavailable},
		"it expires meanwhile": {
			[]http.HandlerFunc{streams("", told(3, "pending"), false), refuses(code.NotFound)}, nil, "pending@3",
			ErrNotFound, code.NotFound,
		},
		"refused in a stream": {
			[]http.HandlerFunc{streams("", "event: refused\ndata: {\"jobId\":\"j1\",\"error\":\"not_found\"}\n\n", false)},
			nil, "", ErrNotFound, code.NotFound,
		},
		"versions that the log has lost": {[]http.HandlerFunc{streams("9", told(2, "pending")+told(3, "failed"), false)},
			[]WatchOption{After(9)}, "pending@2 failed@3", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
				got, err := collect(t, c.Job("j1").Watch(t.Context(), tc.opts...)).end()
				if got != tc.want || tc.is != nil && !errors.Is(err, tc.is) || CodeOf(err) != tc.code ||
					tc.code == "" && err != nil {
					t.Errorf("%q, %v", got, err)
				}
			}, tc.next...)
		})
	}
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) { // a loop that is left lets go of its stream
		for st, err := range c.Job("j1").Watch(t.Context()) {
			if err != nil || st.Version != 3 {
				t.Errorf("%+v, %v", st, err)
			}
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if got, err := collect(t, c.Job("j1").Watch(ctx)).end(); got != "" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q, %v", got, err)
		}
	}, streams("", told(3, "pending")+told(4, "processing"), false), func(w http.ResponseWriter, r *http.Request) {
		streams("", ": hello\n\n", false)(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

// A stream that is open but silent is given up.
func TestSilentStreamIsGivenUp(t *testing.T) {
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		began := time.Now()
		got, err := collect(t, c.Job("j1").Watch(t.Context())).end()
		if got != "pending@3 completed@4" || err != nil || time.Since(began) < maxSilence ||
			time.Since(began) > maxSilence+10*time.Second {
			t.Errorf("after %s: %q, %v", time.Since(began), got, err)
		}
	}, func(w http.ResponseWriter, r *http.Request) {
		streams("", told(3, "pending"), false)(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}, streams("3", told(4, "completed"), false))
}

func TestReadLimitOverHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overHTTP(t, "http://ackwire.test", WithReadLimit(100), WithoutReconnect(), WithDialContext(
			func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer server.Close()
					_, _ = server.Read(make([]byte, 10_000))
					_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\n\r\n"+told(3, "pending"))
				}()
				return client, nil
			}))
		for what, err := range map[string]error{
			"get":   second(c.Job("j1").Get(t.Context())),
			"watch": second(collect(t, c.Job("j1").Watch(t.Context())).end()),
		} {
			if err == nil || !strings.Contains(err.Error(), "100 bytes") {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestNewHTTPRefuses(t *testing.T) {
	for _, url := range []string{"ftp://x", "http://", "%"} {
		if _, err := NewHTTP(url); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	if _, err := NewHTTP("http://x", WithReadLimit(0)); err == nil {
		t.Error("a read limit of 0 is taken")
	}
}
