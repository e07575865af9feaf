package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	hooks = `{"endpoints":[{"tenant":"acme","endpoint":"https://hooks.example/jobs\u001b[31m","pausedUntil":"2026-01-02T03:05:00Z",` +
		`"pausedBy":["w1"],"failures":7,"failed":0},{"tenant":"acme","endpoint":"https://app.example/in","failed":2,` +
		`"jobs":["0199-b","0199-a"],"firstAt":"2026-01-02T01:00:00Z","lastAt":"2026-01-02T03:00:00Z","lastError":` +
		`{"code":"webhook_rejected","message":"the endpoint answered 500","retryable":true}},{"tenant":"acme","endpoint":"",` +
		`"failed":1,"jobs":["0199-c"]}],"tenants":["acme"],"since":"2026-01-01T03:04:05Z","asOf":"2026-01-02T03:04:05Z",` +
		`"truncated":true}`
	noHooks = `{"endpoints":[],"tenants":["acme"],"since":"2026-01-01T03:04:05Z","asOf":"2026-01-02T03:04:05Z","truncated":false}`
	letter0 = `{"id":"0-7","at":"2026-01-02T03:04:05Z","reason":"bad_request","detail":"no header\u001b[2J","by":"processor",` +
		`"topic":"ackwire.requests.default","partition":"2","offset":"9","jobId":"0199-job","request":true,"bytes":7`
)

// deadPages answers the dead letters n-1 to 0, in pages.
func deadPages(n int) func(string, url.Values) string {
	return func(_ string, q url.Values) string {
		before, limit := n, 50
		if c := q.Get("cursor"); c != "" {
			before, _ = strconv.Atoi(strings.TrimPrefix(c, "0-"))
		}
		if l := q.Get("limit"); l != "" {
			limit, _ = strconv.Atoi(l)
		}
		var page []string
		for i := before - 1; i >= max(0, before-min(limit, 2)); i-- {
			page = append(page, strings.Replace(letter0, "0-7", fmt.Sprintf("0-%d", i), 1)+"}")
		}
		next := ""
		if before > min(limit, 2) {
			next = fmt.Sprintf(`,"nextCursor":"0-%d"`, before-min(limit, 2))
		}
		return `{"letters":[` + strings.Join(page, ",") + `]` + next + `}`
	}
}

// auditPages answers two pages of the audit trail.
func auditPages(_ string, q url.Values) string {
	record := func(id, tenant, job string) string {
		return fmt.Sprintf(`{"id":%q,"writtenAt":"2026-01-02T03:04:06Z","v":1,"at":"2026-01-02T03:04:05Z","deed":"cancel",`+
			`"outcome":"ok","tenant":%q,"subject":"carol\u001b[1m","jobId":%q,"requestId":"r-%s"}`, id, tenant, job, id)
	}
	if q.Get("cursor") == "" {
		return `{"records":[` + record("0-9", "acme", "0199-a") + `,` + record("0-8", "globex", "0199-b") +
			`],"nextCursor":"0-8","unreadable":1}`
	}
	return `{"records":[` + record("0-7", "acme", "0199-b") + `]}`
}

func TestOperators(t *testing.T) {
	shown := `,"key":{"text":"k"},"headers":[{"name":"h","base64":"/w=="}],"value":{"text":"{\u001b}"}}`
	for _, tc := range []struct {
		name  string
		query func(string, url.Values) string
		args  []string
	}{
		{"webhooks", answers(hooks), []string{"webhooks"}},
		{"webhooks-jobs", answers(hooks), []string{"webhooks", "list", "--jobs", "--since", "1h"}},
		{"webhooks-json", answers(hooks), []string{"webhooks", "--json"}},
		{"webhooks-none", answers(noHooks), []string{"webhooks"}},
		{"webhooks-bad-since", nil, []string{"webhooks", "--since=-1h"}},
		{"webhooks-refused", answers(""), []string{"webhooks"}},
		{"dead-http", deadPages(3), []string{"dead", "list"}},
		{"dead-http-json", deadPages(3), []string{"dead", "list", "--json"}},
		{"dead-http-limit", deadPages(5), []string{"dead", "list", "--limit", "3"}},
		{"dead-http-none", deadPages(0), []string{"dead", "list"}},
		{"dead-http-bad-limit", nil, []string{"dead", "list", "--limit", "0"}},
		{"dead-http-show", answers(letter0 + shown), []string{"dead", "show", "0/7"}},
		{"dead-http-show-json", answers(letter0 + shown), []string{"dead", "show", "0-7", "--json"}},
		{"dead-http-withheld", answers(letter0 + `,"withheld":true}`), []string{"dead", "show", "0-7"}},
		{"dead-http-requeue", answers(`{"outcome":"dispatched","jobId":"0199-job"}`), []string{"dead", "requeue", "0-7"}},
		{"dead-http-requeue-written", answers(`{"outcome":"written","topic":"ackwire.status","partition":2,"offset":12}`),
			[]string{"dead", "requeue", "0/7"}},
		{"dead-http-requeue-json", answers(`{"outcome":"dispatched","jobId":"0199-job"}`),
			[]string{"dead", "requeue", "0-7", "--json"}},
		{"dead-http-requeue-refused", answers(""), []string{"dead", "requeue", "0-7"}},
		{"dead-both", nil, []string{"dead", "list", "--kafka", "127.0.0.1:1"}},
		{"audit-http", auditPages, []string{"audit"}},
		{"audit-http-json", auditPages, []string{"audit", "--json"}},
		{"audit-http-job", auditPages, []string{"audit", "--job", "0199-b"}},
		{"audit-http-tenant-limit", auditPages, []string{"audit", "--tenant", "acme", "--limit", "1"}},
		{"audit-http-none", auditPages, []string{"audit", "--tenant", "initech"}},
		{"audit-http-off", answers(`{"records":[],"off":true}`), []string{"audit"}},
		{"audit-http-endless", answers(`{"records":[],"nextCursor":"0-1"}`), []string{"audit"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, tc.name, run(t, &Env{}, (&script{query: tc.query}).serve(t), tc.args...))
		})
	}
}

// TestReplayOfWebhooks: those of one endpoint are retried one by one, also when a page does not name all of them; all
// others by a bulk action.
func TestReplayOfWebhooks(t *testing.T) {
	failed := []string{"0199-a", "0199-b", "0199-c", "0199-d", "0199-e"}
	var mu sync.Mutex
	var retried []string
	bulk := ""
	s := &script{query: func(path string, q url.Values) string {
		mu.Lock()
		defer mu.Unlock()
		if id, retry := strings.CutSuffix(path, "/retry"); retry {
			id = strings.TrimPrefix(id, "POST /v1/jobs/")
			retried = append(retried, id)
			failed = slices.DeleteFunc(failed, func(f string) bool { return f == id })
			if id == "0199-c" {
				return "" // somebody else was faster
			}
			return fmt.Sprintf(`{"jobId":%q,"state":"pending"}`, id)
		}
		named := failed[:min(2, len(failed))]
		return fmt.Sprintf(`{"endpoints":[{"tenant":"acme","endpoint":"https://other.example/","failed":1,"jobs":["0199-x"]},`+
			`{"tenant":"acme","endpoint":"https://app.example/in","failed":%d,"jobs":["%s"]}],"tenants":["acme"],`+
			`"since":"2026-01-01T03:04:05Z","asOf":"2026-01-02T03:04:05Z","truncated":false}`, len(failed),
			strings.Join(named, `","`))
	}}
	s.bulk = func(asked frame.BulkRequest) (int, string) {
		b, err := plainjson.Marshal(asked)
		if err != nil {
			t.Error(err)
		}
		bulk = string(b)
		return http.StatusOK, `{"action":"retry","count":5,"examples":["0199-a"]}`
	}
	base := s.serve(t)
	replay := []string{"webhooks", "replay", "--endpoint", "https://app.example/in"}
	golden(t, "replay-preview", run(t, &Env{}, base, append(replay, "--preview")...))
	golden(t, "replay-no", run(t, &Env{Stdin: strings.NewReader("n\n")}, base, replay...))
	if len(retried) > 0 {
		t.Errorf("it has retried %v, which nobody has agreed to", retried)
	}
	golden(t, "replay-endpoint", run(t, &Env{Stdin: strings.NewReader("y\n")}, base, replay...))
	if got := strings.Join(retried, " "); got != "0199-a 0199-b 0199-c 0199-d 0199-e" {
		t.Errorf("retried %s", got)
	}
	before := time.Now().Add(-2 * time.Hour)
	golden(t, "replay-all", run(t, &Env{}, base, "webhooks", "replay", "--since", "2h", "--tenant", "acme", "--preview"))
	head, at, found := strings.Cut(bulk, `"createdAfter":["`)
	at, tail, _ := strings.Cut(at, `"`)
	since, err := time.Parse(time.RFC3339Nano, at)
	if !found || err != nil || since.Before(before) || head+tail != `{"action":"retry","filter":{],"state":["failed"],`+
		`"tenant":["acme"],"type":["ackwire.webhook"]},"preview":true}` {
		t.Errorf("asked %s", bulk)
	}
}

// TestWhomToAsk: any setting of Kafka's selects Kafka as before, unless a gateway is named on the command line.
func TestWhomToAsk(t *testing.T) {
	for _, tc := range []struct {
		args   string
		env    map[string]string
		direct bool
		fails  string
	}{
		{args: "dead list"},
		{args: "dead list --url http://gateway.example"},
		{args: "audit --token t"},
		{args: "dead list --kafka 127.0.0.1:9092", direct: true},
		{args: "dead requeue 0/1 --topic-prefix ackwire.", direct: true},
		{args: "audit --kafka-tls", direct: true},
		{args: "dead show 0/1 --kafka-profile regional", direct: true},
		{args: "dead list", env: map[string]string{"ACKWIRE_URL": "http://gateway.example"}},
		{args: "dead list", env: map[string]string{"ACKWIRE_KAFKA": "kafka:9092"}, direct: true},
		{args: "audit", env: map[string]string{"ACKWIRE_KAFKA": "kafka:9092", "ACKWIRE_URL": "http://gateway.example"},
			direct: true},
		{args: "audit --url http://gateway.example", env: map[string]string{"ACKWIRE_KAFKA": "kafka:9092"}},
		{args: "audit --url http://gateway.example --kafka kafka:9092", fails: "not both"},
		{args: "dead list --kafka-user u", fails: "kafka-user"}, // the settings are checked where they count
		{args: "dead list --url http://gateway.example", env: map[string]string{"ACKWIRE_KAFKA_USER": "u"}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			var cmds struct {
				Dead  DeadCmd  `cmd:""`
				Audit AuditCmd `cmd:""`
			}
			parser, err := kong.New(&cmds, command.Options("ackwire", "")...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(strings.Fields(tc.args))
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Errorf("%v, want an error with %q", err, tc.fails)
				}
				return
			}
			d := cmds.Dead
			direct := d.List.direct || d.Show.direct || d.Requeue.direct || cmds.Audit.direct
			if err != nil || direct != tc.direct {
				t.Errorf("Kafka: %v, %v", direct, err)
			}
		})
	}
}

// TestPatience: a list that is read faster than the server permits goes on when it may.
func TestPatience(t *testing.T) {
	n := 0
	var out bytes.Buffer
	s := &script{query: func(string, url.Values) string {
		n++
		if n%2 == 1 {
			return "rate_limited"
		}
		return deadPages(1)("", nil)
	}}
	base := s.serve(t)
	if got := run(t, &Env{Stdout: &out}, base, "dead", "list"); !strings.HasPrefix(got, "exit code 0") || n != 2 {
		t.Errorf("%d requests: %s", n, got)
	}
}
