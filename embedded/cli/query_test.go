package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// listed answers a list of n jobs, the first created at 03:04:05.
func listed(n int) func(string, url.Values) string {
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	states := []string{"pending", "processing", "completed"}
	return func(_ string, q url.Values) string {
		from, _ := strconv.Atoi(q.Get("cursor"))
		limit, _ := strconv.Atoi(q.Get("limit"))
		limit = min(limit, 2) // pages may be short
		var jobs []string
		for i := from; i < min(n, from+limit); i++ {
			at := created.Add(-time.Duration(i*i*i) * time.Minute)
			jobs = append(jobs, fmt.Sprintf(
				`{"jobId":"0199-job-%d","type":"demo.%d\u001b[31m","state":%q,"attempt":%d,"maxAttempts":3,"createdAt":%q,"updatedAt":%q}`,
				i, i*i*i*i, states[i%3], 1+i%3, at.Format(time.RFC3339), at.Add(time.Second).Format(time.RFC3339)))
		}
		next := ""
		if from+limit < n {
			next = fmt.Sprintf(`,"nextCursor":"%d"`, from+limit)
		}
		return `{"jobs":[` + strings.Join(jobs, ",") + `]` + next + `,"asOf":"2026-01-02T03:04:07.25Z"}`
	}
}

func answers(body string) func(string, url.Values) string {
	return func(string, url.Values) string { return body }
}

const (
	stats = `{"counts":[{"type":"demo.echo","lane":"default","state":"completed","jobs":1048},{"type":"report.generate\u001b[1m","lane":"reports","state":"pending","jobs":2}],` +
		`"lanes":[{"lane":"default","workers":0,"waiting":0},{"lane":"reports","workers":3,"waiting":1000007,"oldestSince":"2126-01-02T03:04:05Z"}],"asOf":"2026-01-02T03:04:05Z"}`
	system = `{"gateways":[{"name":"gateway-0-k3v7ma\u001b[1m","version":"1.2.3","revision":"c0ffee","startedAt":"2026-01-02T02:04:05Z","self":true},` +
		`{"name":"gateway-1-aaaaaa","version":"1.2.4","startedAt":"2026-01-02T03:04:00Z"}],"trackers":[{"partitions":4,"restoring":0,"answers":false},` +
		`{"partitions":0,"restoring":0,"answers":true},{"name":"tracker-0-p2x9qd","version":"1.2.3","revision":"c0ffee","startedAt":"2026-01-02T02:04:05Z",` +
		`"partitions":6,"restoring":1,"answers":true}],"partitions":{"total":12,"unowned":2,"unownedSince":"2026-01-02T03:04:00Z"},` +
		`"kafka":{"reachable":true},"asOf":"2026-01-02T03:04:05Z","truncated":false}`
	behind = `{"jobId":"0199-job","state":"pending","reason":"behind_others","detail":"2 requests are before it\u001b]0;x\u0007.","lane":"reports","workers":3,"waiting":7,"ahead":2,"asOf":"2026-01-02T03:04:05Z"}`
	fleet  = `{"workers":[{"worker":"reports-1","announced":true,"lanes":[{"lane":"default","slots":64},{"lane":"webhooks","slots":64}],` +
		`"running":21,"version":"1.2.3","startedAt":"2026-01-02T02:00:00Z","seenAt":"2026-01-02T03:03:55Z","draining":true,"holds":[` +
		`{"jobId":"0199-job","tenant":"acme","type":"demo.echo\u001b[1m","lane":"default","attempt":2,"since":"2026-01-02T01:04:05Z",` +
		`"lastSign":"2026-01-02T03:04:00Z","progressAt":"2026-01-02T02:04:05Z","percent":40.5,"stage":"load"},` +
		`{"jobId":"0199-other","tenant":"acme","type":"demo.sleep","lane":"default","attempt":1,"since":"2026-01-02T03:04:00Z",` +
		`"lastSign":"2026-01-02T03:04:00Z"}],"pausedEndpoints":[{"tenant":"acme","endpoint":"https://hooks.example/jobs",` +
		`"until":"2026-01-02T03:05:00Z","failures":7}]},{"worker":"raw","announced":false,"lanes":[],"running":0,` +
		`"seenAt":"2026-01-02T03:04:05Z","holds":[]}],"lanes":[{"lane":"default","workers":1,"slots":64,"running":21,"waiting":0,` +
		`"oldestWait":0}],"asOf":"2026-01-02T03:04:05Z","truncated":false}`
	later = `{"jobId":"0199-job","state":"scheduled","reason":"scheduled","detail":"It is to start at 2026-02-03T04:05:06Z.","lane":"reports","nextAt":"2026-02-03T04:05:06Z","asOf":"2026-01-02T03:04:05Z"}`
)

// hourOf returns the answer of GET /v1/activity: something happened in the last minutes.
func hourOf(since string, truncated bool) string {
	minutes := func(last ...int) string {
		all := append(make([]int, 60-len(last)), last...)
		return strings.ReplaceAll(fmt.Sprint(all), " ", ",")
	}
	return fmt.Sprintf(`{"from":"2026-01-02T02:05:00Z","since":%q,"lanes":[{"lane":"default\u001b[1m","accepted":%s,`+
		`"completed":%s,"failed":%s,"cancelled":%s}],"truncated":%t,"asOf":"2026-01-02T03:04:05Z"}`, since, minutes(1, 3, 7),
		minutes(3, 6, 0), minutes(5, 0, 0, 0, 0, 0, 1), minutes(), truncated)
}

// history answers the history of a job in two pages; the first was cut short.
func history(_ string, q url.Values) string {
	if q.Get("cursor") == "" {
		return `{"jobId":"0199-job","events":[{"offset":7,"at":"2026-01-02T03:04:05Z","type":"accepted","by":"gateway",` +
			`"subject":"alice","applied":true,"state":"pending","attempt":1},{"offset":9,"at":"2026-01-02T03:04:06.5Z",` +
			`"type":"progress","by":"worker","worker":"w1","run":"r1","dispatch":1,"traceId":"0af7651916cd43dd8448eb211c80319c","applied":true,"state":"processing",` +
			`"attempt":1,"progress":{"percent":40,"message":"half\u001b[31m"}}],"nextCursor":"2","asOf":"2026-01-02T03:04:07Z"}`
	}
	return `{"jobId":"0199-job","events":[{"offset":12,"at":"2026-01-02T03:05:05Z","type":"failed","by":"worker",` +
		`"worker":"w1","run":"r1","dispatch":1,"applied":false,"reason":"old_dispatch","detail":"The job had been handed out ` +
		`again since: the run was given up.","state":"processing","attempt":2,"error":{"code":"boom","message":"no",` +
		`"retryable":true}},{"offset":13,"at":"2026-01-02T03:05:06Z","applied":false,"reason":"unreadable",` +
		`"detail":"It could not be read.","state":"processing","attempt":2}],"asOf":"2026-01-02T03:05:07Z"}`
}

func TestQueries(t *testing.T) {
	for _, tc := range []struct {
		name  string
		query func(string, url.Values) string
		args  []string
	}{
		{"list", listed(5), []string{"list"}},
		{"list-limit", listed(5), []string{"list", "--limit", "3"}},
		{"list-limit-exact", listed(3), []string{"list", "--limit", "3"}},
		{"list-all", listed(9), []string{"list", "--all"}},
		{"list-json", listed(3), []string{"list", "--json", "--limit", "2"}},
		{"list-none", listed(0), []string{"list"}},
		{"list-refused", answers(""), []string{"list", "--state", "done"}},
		{"list-bad-limit", nil, []string{"list", "--limit", "0"}},
		{"list-bad-since", nil, []string{"list", "--since=-1h"}},
		{"list-limit-and-all", nil, []string{"list", "--limit", "3", "--all"}},
		{"list-mine-and-subject", nil, []string{"list", "--mine", "--subject", "bob"}},
		{"stats", answers(stats), []string{"stats"}},
		{"stats-json", answers(stats), []string{"stats", "--json"}},
		{
			"stats-none",
			answers(`{"counts":[],"lanes":[{"lane":"default","workers":1,"waiting":0}],"asOf":"2026-01-02T03:04:05Z"}`),
			[]string{"stats"},
		},
		{"stats-broken", answers("<html>"), []string{"stats"}},
		{"workers", answers(fleet), []string{"workers"}},
		{"workers-jobs", answers(fleet), []string{"workers", "--jobs"}},
		{"workers-json", answers(fleet), []string{"workers", "--json"}},
		{"workers-none", answers(`{"workers":[],"lanes":[{"lane":"default","workers":0,"slots":0,"running":0,"waiting":3,` +
			`"oldestWait":61.5}],"asOf":"2026-01-02T03:04:05Z","truncated":true}`), []string{"workers"}},
		{"activity", answers(hourOf("2026-01-02T01:00:00Z", false)), []string{"activity"}},
		{"activity-json", answers(hourOf("2026-01-02T01:00:00Z", false)), []string{"activity", "--json"}},
		{"activity-partial", answers(hourOf("2026-01-02T02:30:00Z", true)), []string{"activity", "--tenant", "acme"}},
		{"activity-none", answers(`{"from":"2026-01-02T02:05:00Z","since":"2026-01-02T01:00:00Z","lanes":[],` +
			`"truncated":false,"asOf":"2026-01-02T03:04:05Z"}`), []string{"activity"}},
		{"system", answers(system), []string{"system"}},
		{"system-json", answers(system), []string{"system", "--json"}},
		{"system-whole", answers(`{"gateways":[],"trackers":[],"partitions":{"total":12,"unowned":0},"kafka":{"reachable":true},` +
			`"asOf":"2026-01-02T03:04:05Z","truncated":true}`), []string{"system"}},
		{"system-no-kafka", answers(`{"gateways":[],"trackers":[],"partitions":{"total":12},"kafka":{"reachable":false},` +
			`"asOf":"2026-01-02T03:04:05Z","truncated":false}`), []string{"system"}},
		{"system-new", answers(`{"gateways":[],"trackers":[],"partitions":{"total":0},"kafka":{"reachable":true},` +
			`"asOf":"2026-01-02T03:04:05Z","truncated":false}`), []string{"system"}},
		{"system-refused", answers(""), []string{"system"}},
		{"why", answers(behind), []string{"why", "0199-job"}},
		{"why-json", answers(behind), []string{"why", "0199-job", "--json"}},
		{"why-scheduled", answers(later), []string{"why", "0199-job"}},
		{"history", history, []string{"history", "0199-job"}},
		{"history-json", history, []string{"history", "0199-job", "--json"}},
		{"history-limit", history, []string{"history", "0199-job", "--limit", "1"}},
		{"history-bad-limit", nil, []string{"history", "0199-job", "--limit", "0"}},
		{"history-none", answers(`{"jobId":"0199-job","events":[],"truncated":true,"asOf":"2026-01-02T03:04:05Z"}`),
			[]string{"history", "0199-job"}},
		{"history-endless", answers(`{"jobId":"0199-job","events":[],"nextCursor":"x","asOf":"2026-01-02T03:04:05Z"}`),
			[]string{"history", "0199-job"}},
		{"payload", answers(`{"n" : 1e2}`), []string{"payload", "0199-job"}},
		{"payload-refused", answers(""), []string{"payload", "0199-job"}},
		{"why-bad-id", nil, []string{"why", "a/b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, tc.name, run(t, &Env{}, (&script{query: tc.query}).serve(t), tc.args...))
		})
	}
}

// TestListAsks: what the flags make of the query.
func TestListAsks(t *testing.T) {
	var asked url.Values
	s := &script{
		query: func(_ string, q url.Values) string { asked = q; return `{"jobs":[],"asOf":"2026-01-02T03:04:05Z"}` },
	}
	base := s.serve(t)
	run(t, &Env{}, base, "list", "--state", "failed,pending", "--type", "a", "--type", "b", "--lane", "l", "--subject",
		"bob", "--limit", "700", "--tag", "customer=c,1=2")
	if got, want := asked.Encode(), "lane=l&limit=500&state=failed&state=pending&subject=bob&tag=customer%3Ac%2C1%3D2&"+
		"type=a&type=b"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	before := time.Now()
	run(t, &Env{}, base, "list", "--mine", "--since", "1h")
	since, err := time.Parse(time.RFC3339Nano, asked.Get("createdAfter"))
	if err != nil || since.Before(before.Add(-time.Hour)) || since.After(time.Now().Add(-time.Hour)) ||
		asked.Get("mine") != "true" || asked.Get("limit") != "50" {
		t.Errorf("asked for %s, %v", asked.Encode(), err)
	}
}

func TestInterruptedQuery(t *testing.T) {
	for _, args := range [][]string{{"list"}, {"stats"}, {"why", "j1"}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := run(t, &Env{Context: ctx}, "http://127.0.0.1:1",
			args...); got != "exit code 130\n--- stdout\n--- stderr\n" {
			t.Errorf("%v: %s", args, got)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 12 * time.Millisecond: "12ms", 59*time.Second + 900*time.Millisecond: "59s", time.Minute: "1m0s",
		59*time.Minute + 59*time.Second: "59m59s", time.Hour: "1h0m", 25 * time.Hour: "1d1h", 1000 * time.Hour: "41d16h",
	} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
