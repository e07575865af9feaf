package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// rover is a client that does whatever clients may do, and what they may not.
type rover struct {
	// Set before roam, then only read.
	storm   *storm
	name    string
	tenant  string
	subject string
	dialer  *http.Client

	// Owned by roam.
	rng      *rand.Rand
	link     *link
	settling bool // its sockets last to the end

	mu   sync.Mutex // guards all below
	seen map[string]int64
	over map[string]bool
}

func (r *rover) wrong(format string, args ...any) {
	r.storm.wrong("%s of %s: %s", r.name, r.tenant, fmt.Sprintf(format, args...))
}

// looksForeign checks I8.
func (r *rover) looksForeign(b []byte) {
	for _, other := range tenants {
		if other != r.tenant && bytes.Contains(b, []byte(secretOf(other))) {
			r.wrong("something of %s came: %s", other, b)
		}
	}
}

// documented checks I6: the code is one of the table's and says whether to try again. status is 0
// for what did not come over HTTP.
func (r *rover) documented(p frame.Problem, status int) {
	info := p.Code.Info()
	if !p.Code.Known() || p.Retryable != info.Retryable || p.Code == code.Internal || status != 0 && status != info.HTTP {
		r.wrong("an answer that is not documented: %d %+v", status, p)
	}
	r.storm.count(string(p.Code))
}

// acked notes a job that must not be lost.
func (r *rover) acked(id string, req request) {
	if uuid.Validate(id) != nil {
		r.wrong("%q was acked", id)
		return
	}
	r.storm.acked(r, id, req.keyed)
}

// saw notes what is not asked for again.
func (r *rover) saw(id string, version int64, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[id], r.over[id] = max(r.seen[id], version), over
}

func (r *rover) token(ttl time.Duration) string { return r.storm.token(r.tenant, r.subject, ttl) }

func (r *rover) gateway() string { return GatewayURL(r.rng.IntN(gateways)) }

// dial opens a socket in one of the ways there are.
func (r *rover) dial(ttl time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	o := &websocket.DialOptions{HTTPClient: r.dialer, HTTPHeader: http.Header{}, Subprotocols: []string{frame.Protocol}}
	base, query, first := r.gateway(), "", ""
	switch r.rng.IntN(5) {
	case 0:
		o.Subprotocols = append(o.Subprotocols, frame.BearerProtocolPrefix+r.token(ttl))
	case 1:
		first = r.token(ttl)
	case 2:
		status, _, b := r.http(base, "POST", "/v1/ws-tickets", nil, "")
		var t frame.Ticket
		if status != http.StatusOK && status != http.StatusCreated || json.Unmarshal(b, &t) != nil {
			return
		}
		query = "?ticket=" + t.Ticket
	default:
		o.HTTPHeader.Set("Authorization", "Bearer "+r.token(ttl))
	}
	ws, resp, err := websocket.Dial(ctx, strings.Replace(base, "http", "ws", 1)+"/v1/ws"+query, o)
	if err != nil {
		if resp != nil {
			var p frame.Problem
			b, _ := io.ReadAll(resp.Body)
			if json.Unmarshal(b, &p) != nil {
				r.wrong("a handshake was answered %d %s", resp.StatusCode, b)
				return
			}
			r.documented(p, resp.StatusCode)
		}
		return
	}
	ws.SetReadLimit(-1)
	l := &link{
		rover: r, ws: ws, vandal: r.rng.IntN(3) == 0, ended: make(chan struct{}), pending: map[string]request{},
		follows: map[string]*following{},
	}
	r.link = l
	r.storm.readers.Go(l.read)
	if first != "" {
		l.send(request{kind: frame.Auth}, `,"token":%q`, first)
	}
}

// http makes a request and checks its answer. Faults are no answer: status 0.
func (r *rover) http(base, method, path string, header http.Header, body string) (int, http.Header, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		r.wrong("%v", err)
		return 0, nil, nil
	}
	for k, v := range header {
		q.Header[k] = v
	}
	ttl := time.Minute // also that of a socket by a ticket
	if r.settling {
		ttl = time.Hour
	}
	q.Header.Set("Authorization", "Bearer "+r.token(ttl))
	resp, err := r.dialer.Do(q)
	if err != nil {
		return 0, nil, nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	r.looksForeign(b)
	if err != nil {
		return 0, nil, nil
	}
	if resp.StatusCode >= 400 {
		var p frame.Problem
		if json.Unmarshal(b, &p) != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
			r.wrong("%s %s: %d %s", method, path, resp.StatusCode, b)
		}
		r.documented(p, resp.StatusCode)
	}
	return resp.StatusCode, resp.Header, b
}

// roam does one thing after the other until the time has come.
func (r *rover) roam(until time.Time, pause time.Duration) {
	for time.Now().Before(until) {
		time.Sleep(time.Duration(r.rng.ExpFloat64() * float64(pause)))
		if r.link == nil || !r.link.alive() {
			r.dial(time.Duration(20+r.rng.IntN(100)) * time.Second)
			continue
		}
		r.act(r.link)
	}
}

func (r *rover) act(l *link) {
	switch n := r.rng.IntN(100); {
	case n < 26:
		r.submit(l)
	case n < 46:
		r.subscribe(l)
	case n < 54:
		jobs := r.pick(1+r.rng.IntN(3), false)
		l.send(request{kind: frame.Unsubscribe, jobs: jobs}, `,"jobs":%s`, list(jobs))
	case n < 62:
		stranger := r.rng.IntN(3) == 0
		id := r.pick(1, stranger)[0]
		kind := frame.Cancel
		if r.rng.IntN(2) == 0 {
			kind = frame.Retry
			r.storm.retried(id)
		}
		l.send(request{kind: kind, jobs: []string{id}, watches: kind == frame.Retry, stranger: stranger}, `,"jobId":%q`, id)
	case n < 66:
		l.send(request{kind: frame.Ping}, ``)
	case n < 71:
		token := r.token(time.Duration(20+r.rng.IntN(100)) * time.Second)
		switch r.rng.IntN(8) {
		case 0:
			token = r.storm.token(tenants[r.rng.IntN(len(tenants))], "somebody else", time.Minute)
		case 1:
			token += "x"
		}
		l.send(request{kind: frame.Auth}, `,"token":%q`, token)
	case n < 78:
		if l.vandal {
			r.vandalise(l)
		}
	case n < 81:
		if r.rng.IntN(2) == 0 {
			_ = l.ws.CloseNow()
		} else {
			_ = l.ws.Close(websocket.StatusNormalClosure, "")
		}
	case n < 82:
		l.dozes.Store(time.Now().Add(time.Duration(r.rng.IntN(30)) * time.Second).UnixNano())
	case n < 83:
		for range 40 + r.rng.IntN(60) {
			l.send(request{kind: frame.Ping}, ``)
		}
	default:
		r.overHTTP()
	}
}

// submission makes a submit's fields. Those with a key come from a small set, so that they
// meet again: at other gateways, over the other protocol, from other tenants.
func (r *rover) submission() (fields, key, payload string) {
	jobType, payload := "demo.echo", fmt.Sprintf(`{"secret":%q,"n":%d}`, secretOf(r.tenant), r.rng.Uint32())
	switch r.rng.IntN(10) {
	case 0:
		jobType, payload = "demo.flaky", fmt.Sprintf(`{"failures":%d}`, r.rng.IntN(4))
	case 1, 2:
		jobType, payload = "demo.sleep", fmt.Sprintf(`{"seconds":%d,"steps":%d}`, 1+r.rng.IntN(12), 1+r.rng.IntN(20))
	case 3:
		jobType, payload = "demo.fail", fmt.Sprintf(`{"message":%q}`, secretOf(r.tenant))
	case 4:
		jobType, payload = []string{"demo.sleep", "no.such", "demo.panic"}[r.rng.IntN(3)], `{"seconds":"many"}`
	case 5, 6, 7:
		n := r.rng.IntN(25)
		key, payload = fmt.Sprint("key ", n), fmt.Sprintf(`{"secret":%q,"n":%d}`, secretOf(r.tenant), n)
		if r.rng.IntN(10) == 0 {
			payload = `{"other":true}`
		}
	}
	return fmt.Sprintf(`"job":%q,"payload":%s`, jobType, payload), key, payload
}

func (r *rover) submit(l *link) {
	fields, key, payload := r.submission()
	q := request{kind: frame.Submit, watches: r.rng.IntN(5) > 0}
	if key != "" {
		fields += fmt.Sprintf(`,"key":%q`, key)
		q.keyed = r.tenant + " " + r.subject + " " + key + " " + payload
	}
	l.send(q, `,%s,"watch":%v`, fields, q.watches)
}

func (r *rover) subscribe(l *link) {
	q := request{kind: frame.Subscribe, after: map[string]int64{}, stranger: r.rng.IntN(4) == 0}
	q.jobs = r.pick(1+r.rng.IntN(6), q.stranger)
	var refs []string
	for _, id := range q.jobs {
		ref := fmt.Sprintf(`{"jobId":%q}`, id)
		r.mu.Lock()
		last := r.seen[id]
		r.mu.Unlock()
		if last > 0 && r.rng.IntN(2) == 0 {
			q.after[id] = last
			ref = fmt.Sprintf(`{"jobId":%q,"after":%d}`, id, last)
		}
		refs = append(refs, ref)
	}
	l.send(q, `,"jobs":[%s]`, strings.Join(refs, ","))
}

// pick returns jobs of the client's tenant, of other tenants, or ones that do not exist.
func (r *rover) pick(n int, stranger bool) []string {
	var ids []string
	for range n {
		tenant := r.tenant
		if stranger {
			tenant = tenants[(slices.Index(tenants, r.tenant)+1+r.rng.IntN(len(tenants)-1))%len(tenants)]
		}
		id := r.storm.anyOf(tenant, r.rng)
		if id == "" || stranger && r.rng.IntN(4) == 0 {
			id = uuid.NewString()
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func list(ids []string) string {
	b, _ := json.Marshal(ids)
	return string(b)
}

// vandalise sends what no client should.
func (r *rover) vandalise(l *link) {
	good := []string{
		fmt.Sprintf(`{"type":"submit","id":"fuzz","job":"demo.echo","payload":{"secret":%q}}`, secretOf(r.tenant)),
		fmt.Sprintf(`{"type":"subscribe","id":"fuzz","jobs":[{"jobId":%q,"after":3}]}`, r.pick(1, r.rng.IntN(2) == 0)[0]),
		`{"type":"unsubscribe","id":"fuzz","jobs":["x"]}`, `{"type":"auth","id":"fuzz","token":"a.b.c"}`,
		`{"type":"cancel","id":"fuzz","jobId":"x"}`, `{"type":"ping","id":"fuzz"}`,
	}
	b := []byte(good[r.rng.IntN(len(good))])
	switch r.rng.IntN(12) {
	case 0:
		_ = l.ws.Write(context.Background(), websocket.MessageBinary, b)
		return
	case 1:
		b = append(b, 0xff, 0xfe)
	case 2:
		b = bytes.Repeat([]byte("["), 200+r.rng.IntN(1000))
	case 3:
		b = bytes.Repeat([]byte("a"), 300<<10)
	default:
		for range 1 + r.rng.IntN(4) {
			switch i := r.rng.IntN(len(b)); r.rng.IntN(3) {
			case 0:
				b[i] = byte(0x20 + r.rng.IntN(0x5f))
			case 1:
				b = slices.Delete(b, i, min(len(b), i+1+r.rng.IntN(4)))
			default:
				b = slices.Insert(b, i, []byte(`":,{}[]0e-\`)[r.rng.IntN(11)])
			}
			if len(b) == 0 {
				b = []byte(`{}`)
			}
		}
	}
	l.write(b)
}

// overHTTP makes one request.
func (r *rover) overHTTP() {
	stranger := r.rng.IntN(3) == 0
	id, base := r.pick(1, stranger)[0], r.gateway()
	// 429 is the asker's own bound, which is looked at before any job is.
	want := func(what string, status int) {
		if stranger && status != 0 &&
			!slices.Contains([]int{http.StatusNotFound, http.StatusServiceUnavailable, http.StatusTooManyRequests}, status) {
			r.wrong("%s of another tenant's job: %d", what, status)
		}
	}
	switch r.rng.IntN(8) {
	case 0, 1:
		fields, key, payload := r.submission()
		header := http.Header{"Content-Type": {"application/json"}}
		var keyed string
		if key != "" {
			keyed = r.tenant + " " + r.subject + " " + key + " " + payload
			if header.Set("Idempotency-Key", key); r.rng.IntN(2) == 0 {
				header.Set("Idempotency-Key", `"`+key+`"`)
			}
		}
		if r.rng.IntN(3) == 0 {
			header.Set("Prefer", fmt.Sprintf("wait=%d", 1+r.rng.IntN(5)))
		}
		status, _, b := r.http(base, "POST", "/v1/jobs", header, "{"+fields+"}")
		var ack frame.AckFrame // or the document: both have the job's ID
		if status == http.StatusAccepted || status == http.StatusOK {
			if json.Unmarshal(b, &ack) != nil {
				r.wrong("submit: %d %s", status, b)
				return
			}
			r.acked(ack.JobID, request{keyed: keyed})
		}
	case 2:
		status, _, _ := r.http(base, "GET", "/v1/jobs/"+id, http.Header{"Prefer": {fmt.Sprintf("wait=%d", r.rng.IntN(5))}},
			"")
		want("GET", status)
	case 3:
		status, _, _ := r.http(base, "POST", "/v1/jobs/"+id+"/cancel", nil, "")
		want("cancel", status)
	case 4:
		status, _, _ := r.http(base, "GET", "/v1/jobs/"+id+"/result", nil, "")
		want("result", status)
	case 5:
		r.http(base, "GET", "/v1/jobs?limit=20", nil, "")
	case 6:
		r.http(base, "GET", "/v1/stats", nil, "")
	case 7:
		r.events(base, id, stranger)
	}
}

// events follows a job by an event stream for a while.
func (r *rover) events(base, id string, stranger bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.rng.IntN(8))*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, "GET", base+"/v1/jobs/"+id+"/events", nil)
	if err != nil {
		r.wrong("%v", err)
		return
	}
	q.Header.Set("Authorization", "Bearer "+r.token(time.Minute))
	resp, err := r.dialer.Do(q)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	r.looksForeign(b)
	if resp.StatusCode != http.StatusOK {
		var p frame.Problem
		_ = json.Unmarshal(b, &p)
		r.documented(p, resp.StatusCode)
		return
	}
	if stranger {
		r.wrong("another tenant's job in an event stream: %s", b)
	}
	last, over := int64(0), false
	for event := range strings.SplitSeq(string(b), "\n\n") {
		var version int64
		if n, _ := fmt.Sscanf(event, "id: %d\n", &version); n != 1 {
			continue
		}
		if version <= last || over {
			r.wrong("event stream of job %s: version %d after %d, which was the end: %v", id, version, last, over)
		}
		last = version
		var doc job.Document
		if _, data, ok := strings.Cut(event, "data: "); ok && json.Unmarshal([]byte(data), &doc) == nil {
			over = doc.State.Terminal()
		}
	}
}

// settle has a socket with a token that lasts, which watches all that the rover has seen begin
// and not end.
func (r *rover) settle() {
	if r.link != nil {
		_ = r.link.ws.CloseNow()
		<-r.link.ended
	}
	r.settling = true
	for try := 0; r.link == nil || !r.link.alive(); try++ {
		if try == 50 {
			r.wrong("no socket is opened any more")
			return
		}
		time.Sleep(time.Second)
		r.dial(time.Hour)
		time.Sleep(time.Second) // a socket whose first frame has the token is closed if its user has too many
	}
	r.link.vandal = false
	for id, after := range r.unended() {
		r.link.send(request{kind: frame.Subscribe, jobs: []string{id}, after: map[string]int64{id: after}},
			`,"jobs":[{"jobId":%q,"after":%d}]`, id, after)
		time.Sleep(100 * time.Millisecond) // below the rate of frames
	}
}

// unended are the jobs that were seen, but not to their end, and their last versions. (Who
// sleeps with a mutex held stops the bubble's clock.)
func (r *rover) unended() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	jobs := maps.Clone(r.seen)
	maps.DeleteFunc(jobs, func(id string, _ int64) bool { return r.over[id] })
	return jobs
}
