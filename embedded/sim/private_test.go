package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/tracker"
)

// Two users of one tenant, and every door between them: whatever ann tries, she is sent no byte of what bob has
// submitted, and for his jobs she gets the same answers as for jobs that there are not; and the other way round.
// Trackers and a gateway come and go meanwhile.

// privateUser is one of the two.
type privateUser struct {
	p      *private
	name   string
	client *http.Client
	socket *websocket.Conn
	jobs   []string
	keys   map[string]string // the job of each key
}

// private is the whole test.
type private struct {
	w     *World
	rng   *rand.Rand
	users [2]*privateUser
	owner map[string]*privateUser
	tally map[string]int
	next  *Process // the second tracker, if it runs
}

func (u *privateUser) other() *privateUser {
	if u == u.p.users[0] {
		return u.p.users[1]
	}
	return u.p.users[0]
}

// secret is in all that the user submits, and so in the results.
func (u *privateUser) secret() string { return "the secret of " + u.name }

func (u *privateUser) token() string {
	token, err := gateway.SignToken(stormKey, Tenant, u.name, time.Hour)
	if err != nil {
		u.p.w.T.Fatal(err)
	}
	return token
}

// TestTwoUsersOfATenant runs some hundred steps; ACKWIRE_LONG runs 10,000, ACKWIRE_SEED runs a seed again.
func TestTwoUsersOfATenant(t *testing.T) {
	seed, steps := uint64(time.Now().UnixNano()), 400
	if os.Getenv("ACKWIRE_LONG") != "" {
		steps = 10_000
	}
	if s := os.Getenv("ACKWIRE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ACKWIRE_SEED=%d runs it again", seed)
	Run(t, func(w *World) {
		w.ConfigureGateway = func(c *gateway.Config) {
			c.Auth.AnonymousTenant, c.Auth.Key = "", stormKey
			c.Limits.OrderRate, c.Limits.ListRate = 0, 0
		}
		w.Stop(w.gateway) // it was started without that
		w.StartGateway()
		w.StartWorker(nil)
		p := &private{
			w: w, rng: rand.New(rand.NewPCG(seed, 1)), owner: map[string]*privateUser{}, tally: map[string]int{},
		}
		for i, name := range []string{"ann", "bob"} {
			transport := &http.Transport{DialContext: w.Net.Host("client-of-" + name).Dial, DisableKeepAlives: true}
			p.users[i] = &privateUser{p: p, name: name, client: &http.Client{Transport: transport}, keys: map[string]string{}}
		}
		for range 4 {
			for _, u := range p.users {
				u.submit()
			}
		}
		for step := range steps {
			if step%50 == 49 {
				p.move()
			}
			p.users[p.rng.IntN(2)].step()
			time.Sleep(time.Duration(p.rng.IntN(300)) * time.Millisecond)
		}
		for _, u := range p.users {
			u.hangUp()
		}
		t.Logf("%d jobs, %v", len(p.owner), p.tally)
		if p.tally["compared"] < steps/4 || p.tally["frames"] < steps/20 || p.tally["lists"] < steps/40 ||
			p.tally["lists watched"] == 0 {
			t.Error("too little was tried: the test proves nothing")
		}
	})
}

// move has a tracker come or go, or the gateway restarted.
func (p *private) move() {
	w := p.w
	switch p.rng.IntN(5) {
	case 0:
		w.CrashTracker()
		w.StartTracker()
	case 1:
		w.Stop(w.gateway)
		w.StartGateway()
	default:
		if p.next != nil {
			w.Stop(p.next)
			p.next = nil
			return
		}
		p.next = w.startSecondTracker()
	}
}

// startSecondTracker starts a tracker beside the first, which then takes half of the partitions over.
func (w *World) startSecondTracker() *Process {
	w.T.Helper()
	metrics := prometheus.NewRegistry()
	t, err := tracker.New(tracker.Config{
		Kafka: w.kafka(), TopicPrefix: w.Names.Prefix, Partitions: partitions,
		Settings: tracker.Settings{
			Listen: fmt.Sprintf("127.0.0.1:%d", trackerPort+1), Advertise: fmt.Sprintf("localhost:%d", trackerPort+1),
			SessionTimeout: 6 * time.Second, NoView: true,
		},
		Data: "tracker", FS: vfs.NewMem(), Blobs: w.blobs, BrokerTimes: true,
	}, w.env("tracker-1", metrics))
	if err != nil {
		w.T.Fatal(err)
	}
	return w.start("tracker-1", metrics, t.Run, t.Ready)
}

// step does one thing.
func (u *privateUser) step() {
	switch n := u.p.rng.IntN(20); {
	case n < 3:
		u.submit()
	case n < 5:
		u.list()
	case n < 11:
		u.knock()
	default:
		u.frame()
	}
}

// http makes a request, and checks that nothing of the other user is in its answer. ok is false for an answer that
// another try may change.
func (u *privateUser) http(method, path, body string, header ...string) (answer string, ok bool) {
	t := u.p.w.T
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, GatewayURL(0)+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+u.token())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Request-Id", "private")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := u.client.Do(r)
	if err != nil {
		return "", false
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", false
	}
	resp.Header.Del("Date")
	answer = fmt.Sprintf("%d %v %s", resp.StatusCode, resp.Header, b)
	u.check(method+" "+path, string(b), path+body)
	return answer, resp.StatusCode < 500
}

// check looks for what the user must not see: the other's secret, and IDs of the other's jobs that it did not name.
func (u *privateUser) check(what, got, named string) {
	t := u.p.w.T
	t.Helper()
	if strings.Contains(got, u.other().secret()) {
		t.Fatalf("%s is told by %s: %s", u.name, what, got)
	}
	for _, id := range u.other().jobs {
		if strings.Contains(got, id) && !strings.Contains(named, id) {
			t.Fatalf("%s is told of job %s by %s: %s", u.name, id, what, got)
		}
	}
}

// submit makes a job, sometimes by a key that the other user also uses.
func (u *privateUser) submit() {
	t := u.p.w.T
	job, payload := "demo.echo", fmt.Sprintf(`{"secret":%q}`, u.secret())
	if u.p.rng.IntN(2) == 0 {
		job, payload = "demo.sleep", `{"seconds":60,"steps":60}`
	}
	key := ""
	if job == "demo.echo" && u.p.rng.IntN(2) == 0 {
		key = fmt.Sprint("key ", u.p.rng.IntN(4))
	}
	answer, ok := u.http("POST", "/v1/jobs", fmt.Sprintf(`{"job":%q,"payload":%s,"key":%q}`, job, payload, key))
	if !ok {
		return
	}
	var ack frame.AckFrame
	if err := json.Unmarshal([]byte(answer[strings.LastIndex(answer, " {"):]), &ack); err != nil || ack.JobID == "" {
		t.Fatalf("a submit is answered %s", answer)
	}
	if owner := u.p.owner[ack.JobID]; owner != nil && owner != u {
		t.Fatalf("%s is given job %s of %s", u.name, ack.JobID, owner.name)
	}
	if key != "" {
		if first := u.keys[key]; first == "" && ack.Duplicate || first != "" && first != ack.JobID {
			t.Fatalf("%s: %q gave job %q before and %+v now", u.name, key, first, ack)
		}
		u.keys[key] = ack.JobID
	}
	if u.p.owner[ack.JobID] == nil {
		u.p.owner[ack.JobID] = u
		u.jobs = append(u.jobs, ack.JobID)
	}
}

// list asks for many jobs at once, in all the ways there are.
func (u *privateUser) list() {
	paths := []string{
		"/v1/jobs?limit=500", "/v1/jobs?subject=" + u.other().name, "/v1/jobs?subject=ann&subject=bob&limit=500",
		"/v1/jobs?mine=true&limit=500", "/v1/jobs?type=demo.echo", "/v1/stats",
	}
	path := paths[u.p.rng.IntN(len(paths))]
	answer, ok := u.http("GET", path, "")
	if !ok {
		return
	}
	u.p.tally["lists"]++
	t := u.p.w.T
	switch {
	case strings.Contains(path, "subject="+u.other().name) && !strings.Contains(path, "&"):
		if !strings.Contains(answer, `"jobs":[]`) {
			t.Fatalf("%s lists the other's: %s", u.name, answer)
		}
	case path == "/v1/stats":
		var stats frame.Stats
		if json.Unmarshal([]byte(answer[strings.Index(answer, `{"counts"`):]), &stats) != nil {
			t.Fatalf("counts are %s", answer)
		}
		n := 0
		for _, c := range stats.Counts {
			n += int(c.Jobs)
		}
		if n != len(u.jobs) {
			t.Fatalf("%s has %d jobs, and is told of %d", u.name, len(u.jobs), n)
		}
	}
}

// some returns one of the user's last jobs, often a running one.
func (u *privateUser) some() string {
	last := 20
	if u.p.rng.IntN(2) == 0 {
		last = 4
	}
	return u.jobs[len(u.jobs)-1-u.p.rng.IntN(min(len(u.jobs), last))]
}

// noJob returns an ID that no job has, of the same kind as another one.
func (u *privateUser) noJob() string {
	id, err := uuid.NewV7()
	if err != nil {
		u.p.w.T.Fatal(err)
	}
	return id.String()
}

// knock uses a route for a job of the other user and for none.
func (u *privateUser) knock() {
	doors := [][3]string{
		{"GET", "/v1/jobs/ID", ""}, {"HEAD", "/v1/jobs/ID", ""}, {"GET", "/v1/jobs/ID/why", ""},
		{"GET", "/v1/jobs/ID/result", ""}, {"GET", "/v1/jobs/ID/deliveries", ""}, {"GET", "/v1/jobs/ID/events", ""},
		{"GET", "/v1/jobs/ID/history", ""}, {"GET", "/v1/jobs/ID/payload", ""},
		{"GET", "/v1/events?job=ID", ""}, {"POST", "/v1/events", `{"jobs":[{"jobId":"ID"}]}`},
		{"POST", "/v1/events", `{"jobs":[{"jobId":"ID","after":1}]}`},
		{"POST", "/v1/jobs/ID/cancel", ""}, {"POST", "/v1/jobs/ID/retry", ""},
		{"GET", "/v1/jobs/ID", "wait"}, {"GET", "/v1/jobs/ID", `"3"`},
	}
	d := doors[u.p.rng.IntN(len(doors))]
	ask := func(id string) (string, bool) {
		var header []string
		switch {
		case d[2] == "wait":
			header = []string{"Prefer", "wait=2"}
		case d[1] == "/v1/events":
			header = []string{"Prefer", "wait=1"}
		case d[2] == `"3"`:
			header = []string{"If-None-Match", d[2]}
		}
		body := ""
		if strings.HasPrefix(d[2], "{") {
			body = strings.ReplaceAll(d[2], "ID", id)
		}
		answer, ok := u.http(d[0], strings.ReplaceAll(d[1], "ID", id), body, header...)
		return strings.ReplaceAll(answer, id, "ID"), ok
	}
	u.compare(d[0]+" "+d[1], u.other().some(), u.noJob(), ask)
}

// compare compares the answers for a job of the other user and for none, asked in any order.
func (u *privateUser) compare(what, foreign, none string, ask func(id string) (string, bool)) {
	var answers [2]string
	ids := [2]string{foreign, none}
	first := u.p.rng.IntN(2)
	for _, i := range []int{first, 1 - first} {
		var ok bool
		if answers[i], ok = ask(ids[i]); !ok {
			u.p.tally["unavailable"]++
			return
		}
	}
	u.p.tally["compared"]++
	if answers[0] != answers[1] {
		u.p.w.T.Fatalf("%s by %s: a job of the other is answered\n%s\nand none\n%s", what, u.name, answers[0], answers[1])
	}
}

// frame sends a frame over the user's socket, about a job of the other, or one of its own.
func (u *privateUser) frame() {
	if u.socket == nil && !u.dial() {
		return
	}
	frames := []string{
		`{"type":"subscribe","id":"x","jobs":[{"jobId":"ID"}]}`,
		`{"type":"subscribe","id":"x","jobs":[{"jobId":"ID","after":1}]}`,
		`{"type":"unsubscribe","id":"x","jobs":["ID"]}`, `{"type":"cancel","id":"x","jobId":"ID"}`,
		`{"type":"retry","id":"x","jobId":"ID"}`,
	}
	text := frames[u.p.rng.IntN(len(frames))]
	switch u.p.rng.IntN(9) {
	case 8:
		filters := []string{`{}`, fmt.Sprintf(`{"subject":%q}`, u.other().name), `{"state":["completed","processing"]}`}
		if _, ok := u.say(fmt.Sprintf(`{"type":"watchList","id":"x","list":"l","filter":%s}`,
			filters[u.p.rng.IntN(len(filters))])); ok {
			u.p.tally["lists watched"]++
		}
		return
	case 0, 1, 2:
		_, _ = u.say(strings.ReplaceAll(frames[0], "ID", u.some()))
		return
	case 3:
		_, _ = u.say(`{"type":"subscribe","id":"x","mine":true}`)
		return
	case 4:
		_, _ = u.say(fmt.Sprintf(`{"type":"auth","id":"x","token":%q}`, u.token()))
		return
	}
	u.compare("frame "+text, u.other().some(), u.noJob(), func(id string) (string, bool) {
		answer, ok := u.say(strings.ReplaceAll(text, "ID", id))
		return strings.ReplaceAll(answer, id, "ID"), ok
	})
}

func (u *privateUser) dial() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, strings.Replace(GatewayURL(0), "http", "ws", 1)+"/v1/ws", &websocket.DialOptions{
		HTTPClient: u.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + u.token()}},
		Subprotocols: []string{frame.Protocol},
	})
	if err != nil {
		return false
	}
	ws.SetReadLimit(-1)
	u.socket = ws
	return true
}

func (u *privateUser) hangUp() {
	if u.socket != nil {
		_ = u.socket.CloseNow()
		u.socket = nil
	}
}

// say sends a frame and returns its answer. All that comes before the answer is checked.
func (u *privateUser) say(text string) (answer string, ok bool) {
	t := u.p.w.T
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if u.socket == nil || u.socket.Write(ctx, websocket.MessageText, []byte(text)) != nil {
		u.hangUp()
		return "", false
	}
	for {
		_, b, err := u.socket.Read(ctx)
		if err != nil {
			u.hangUp()
			if errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%s: no answer to %s", u.name, text)
			}
			return "", false
		}
		u.p.tally["frames"]++
		var f struct {
			Type frame.Type `json:"type"`
			ID   string     `json:"id"`
			Code string     `json:"code"`
			Job  struct {
				JobID string `json:"jobId"`
			} `json:"job"`
		}
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if f.Type == frame.Status && !slices.Contains(u.jobs, f.Job.JobID) {
			t.Fatalf("%s is sent %s", u.name, b)
		}
		if f.ID != "x" {
			u.check("a frame", string(b), "")
			continue
		}
		u.check("the answer to "+text, string(b), text)
		passing := strings.Contains(string(b), "unavailable") || f.Code == "indeterminate"
		return string(b), !passing
	}
}
