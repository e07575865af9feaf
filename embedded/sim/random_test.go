package sim

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// Random clients: what they may do, what they may not, and faults beside them, for ten minutes.
// Held against the invariants I1, I3, I5, I6, I7 and I8 of the design.

const (
	gateways  = 2
	perTenant = 4 // rovers
	stormFor  = 10 * time.Minute

	// Bounds, low enough to be met.
	maxSubscriptions       = 8
	maxTenantSubscriptions = 12
	maxTenantSessions      = 3
	maxSubjectSessions     = 2
)

var tenants = []string{"ant", "bee", "cat"}

// secretOf is in what a tenant submits, and comes back in results and errors.
func secretOf(tenant string) string { return "the secret of " + tenant }

var stormKey = []byte("a key of the storm, long enough: 32+")

// storm is what all rovers share.
type storm struct {
	w       *World
	readers sync.WaitGroup

	mu       sync.Mutex // guards all below
	jobs     map[string][]string
	owner    map[string]string // of every acked job
	keys     map[string]string // the job of a user's key and payload
	again    map[string]bool   // jobs that a client wanted to retry
	counts   map[string]int
	failures []string
}

func (s *storm) wrong(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

func (s *storm) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

func (s *storm) acked(r *rover, id, keyed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts["acked"]++
	if owner := s.owner[id]; owner == "" {
		s.owner[id] = r.tenant
		s.jobs[r.tenant] = append(s.jobs[r.tenant], id)
	} else if owner != r.tenant {
		s.failures = append(s.failures, fmt.Sprintf("job %s of %s was acked to %s", id, owner, r.tenant))
	}
	if keyed == "" {
		return
	}
	if first := s.keys[keyed]; first != "" && first != id {
		s.failures = append(s.failures, fmt.Sprintf("%q has two jobs, %s and %s", keyed, first, id))
	}
	s.keys[keyed] = id
}

func (s *storm) retried(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again[id] = true
}

// anyOf is one of a tenant's last jobs, if there are any.
func (s *storm) anyOf(tenant string, rng *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.jobs[tenant]
	if len(jobs) == 0 {
		return ""
	}
	return jobs[len(jobs)-1-rng.IntN(min(len(jobs), 30))]
}

func (s *storm) token(tenant, subject string, ttl time.Duration) string {
	token, err := gateway.SignToken(stormKey, tenant, subject, ttl, "submit", "read:tenant", "cancel:tenant")
	if err != nil {
		s.wrong("sign a token: %v", err)
	}
	return token
}

// TestRandomClients runs one seed; ACKWIRE_SEED runs it again, ACKWIRE_LONG runs fifty, of busier
// clients.
func TestRandomClients(t *testing.T) {
	first, n, pause := uint64(time.Now().UnixNano()), 1, 2500*time.Millisecond
	if os.Getenv("ACKWIRE_LONG") != "" {
		n, pause = 50, 500*time.Millisecond
	}
	if s := os.Getenv("ACKWIRE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, n = seed, 1
	}
	for i := range n {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { Run(t, func(w *World) { weather(w, seed, pause) }) })
	}
}

// weather lets a storm pass, in which each client does something every pause or so, and looks at
// what is left.
func weather(w *World, seed uint64, pause time.Duration) {
	w.T.Logf("seed %d; ACKWIRE_SEED=%d runs it again", seed, seed)
	s := &storm{
		w: w, jobs: map[string][]string{}, owner: map[string]string{}, keys: map[string]string{},
		again: map[string]bool{}, counts: map[string]int{},
	}
	w.ConfigureGateway = func(c *gateway.Config) {
		c.Auth.AnonymousTenant, c.Auth.Key = "", stormKey
		c.Subscriptions, c.InFlightSubmits, c.FrameRate = maxSubscriptions, 6, 40
		c.Limits.SubmitRate = 20
		c.Limits.Sessions = maxTenantSessions
		c.Limits.SubjectSessions = maxSubjectSessions
		c.Limits.Subscriptions = maxTenantSubscriptions
	}
	w.Stop(w.gateway) // it was started without that
	up := []*Process{w.StartGateway(), w.StartGatewayAt(1)}
	worker := w.StartWorker(nil)

	until := time.Now().Add(stormFor)
	var roaming sync.WaitGroup
	var rovers []*rover
	for _, tenant := range tenants {
		for i := range perTenant {
			name := fmt.Sprintf("rover-%s-%d", tenant, i)
			h := fnv.New64()
			_, _ = h.Write([]byte(name))
			transport := &http.Transport{DialContext: w.Net.Host(name).Dial, DisableKeepAlives: true}
			r := &rover{storm: s, name: name, tenant: tenant, subject: fmt.Sprint("user ", i/2),
				dialer: &http.Client{Transport: transport},
				rng:    rand.New(rand.NewPCG(seed, h.Sum64())), seen: map[string]int64{}, over: map[string]bool{}}
			rovers = append(rovers, r)
			roaming.Go(func() { r.roam(until, pause) })
		}
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for time.Now().Before(until) {
		time.Sleep(time.Duration(5+rng.IntN(30)) * time.Second)
		s.bounds(up)
		up, worker = fault(w, rng, up, worker)
	}
	roaming.Wait()
	s.calm(rovers)
	for _, r := range rovers {
		_ = r.link.ws.CloseNow()
	}
	s.readers.Wait()
	s.empty(up)

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failures[:min(10, len(s.failures))] {
		w.T.Error(f)
	}
	summary := ""
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		summary += fmt.Sprintf(" %s %d,", what, s.counts[what])
	}
	w.T.Logf("%d jobs;%s %d failures", len(s.owner), summary, len(s.failures))
	if s.counts["acked"] < 200 || s.counts["not_found"] < 50 || s.counts["invalid_frame"] < 5 ||
		s.counts["limit_exceeded"] < 5 {
		w.T.Error("the storm was none: the test proves nothing")
	}
}

// fault breaks one thing for a while.
func fault(w *World, rng *rand.Rand, up []*Process, worker *Process) ([]*Process, *Process) {
	lasts := time.Duration(1+rng.IntN(12)) * time.Second
	again := func(n int) {
		if n == 0 {
			up[0] = w.StartGateway()
		} else {
			up[n] = w.StartGatewayAt(n)
		}
	}
	host := []string{"broker", "tracker", "gateway", "gateway-1", worker.Name}[rng.IntN(5)]
	switch n := rng.IntN(gateways); rng.IntN(8) {
	case 0:
		w.Kill(up[n])
		time.Sleep(lasts)
		again(n)
	case 1:
		w.Stop(up[n])
		again(n)
	case 2:
		w.CrashTracker()
		time.Sleep(lasts)
		w.StartTracker()
	case 3:
		w.Kill(worker)
		time.Sleep(lasts)
		worker = w.StartWorker(nil)
	case 4:
		w.Net.Host(host).Cut()
		time.Sleep(lasts)
		w.Net.Host(host).Heal()
	case 5:
		w.Net.Host(host).Deafen()
		time.Sleep(lasts)
		w.Net.Host(host).Heal()
	default:
		// Not services that speak HTTP/2: the library holds a mutex while it writes, and a bubble's
		// clock stands still while one is waited for.
		host = []string{"broker", worker.Name, "rover-ant-0", "rover-bee-1"}[rng.IntN(4)]
		w.Net.Host(host).Hang()
		time.Sleep(lasts)
		w.Net.Host(host).Heal()
	}
	return up, worker
}

// bounds checks I5 in the midst of it.
func (s *storm) bounds(up []*Process) {
	for _, p := range up {
		sessions, subs, jobs := p.Count("ackwire_gateway_sessions"), p.Count("ackwire_gateway_subscriptions"),
			p.Count("ackwire_gateway_watched_jobs")
		if most := float64(len(tenants) * maxTenantSubscriptions); subs > most || jobs > subs {
			s.wrong("%s: %v watches of %v jobs, %v are allowed", p.Name, subs, jobs, most)
		}
		// A socket that has not said yet who it is belongs to no tenant.
		if sessions > float64(len(tenants)*(maxTenantSessions+perTenant)) {
			s.wrong("%s: %v sessions", p.Name, sessions)
		}
	}
}

// calm waits until all is said and done: I1, I3 and I7.
func (s *storm) calm(rovers []*rover) {
	for _, name := range []string{"gateway", "gateway-1", "tracker", "broker"} {
		s.w.Net.Host(name).Heal()
	}
	var settling sync.WaitGroup
	for _, r := range rovers {
		settling.Go(r.settle)
	}
	settling.Wait()
	by := map[string]*rover{}
	for _, r := range rovers {
		by[r.tenant] = r
	}
	final := map[string]int64{}
	deadline := time.Now().Add(5 * time.Minute)
	for id, tenant := range s.owner {
		for {
			status, _, b := by[tenant].http(GatewayURL(0), "GET", "/v1/jobs/"+id, nil, "")
			var doc job.Document
			if status == http.StatusOK && json.Unmarshal(b, &doc) == nil && doc.State.Terminal() {
				break
			}
			if status == http.StatusNotFound || time.Now().After(deadline) {
				s.wrong("acked job %s of %s: %d %s", id, tenant, status, b)
				break
			}
			time.Sleep(5 * time.Second)
		}
	}
	time.Sleep(30 * time.Second)
	s.mu.Lock()
	retried := maps.Clone(s.again)
	s.mu.Unlock()
	for _, r := range rovers {
		version := func(id string) (int64, bool) {
			if v, ok := final[id]; ok {
				return v, retried[id]
			}
			_, header, _ := r.http(GatewayURL(1), "GET", "/v1/jobs/"+id, nil, "")
			var v int64
			if n, _ := fmt.Sscanf(header.Get("ETag"), `"%d"`, &v); n != 1 {
				r.wrong("job %s has no version", id)
			}
			final[id] = v
			return v, retried[id]
		}
		for _, what := range r.link.unsettled(version) {
			r.wrong("%s", what)
		}
		if !r.link.alive() {
			r.wrong("its last socket has ended")
		}
	}
}

// empty checks I5 at the end: nothing is left of anybody, and what was taken has been given
// back, no more and no less.
func (s *storm) empty(up []*Process) {
	for n, p := range up {
		for _, gauge := range []string{"sessions", "subscriptions", "watched_jobs", "event_streams"} {
			name := "ackwire_gateway_" + gauge
			s.w.eventually(p.Name+": "+name+" is 0", func() bool { return p.Count(name) == 0 })
		}
		for _, tenant := range tenants {
			r := &rover{storm: s, name: "probe", tenant: tenant, seen: map[string]int64{}, over: map[string]bool{}}
			var open []*websocket.Conn
			for i := range maxTenantSessions + 1 {
				r.dialer = &http.Client{
					Transport: &http.Transport{DialContext: s.w.Net.Host("probe").Dial, DisableKeepAlives: true},
				}
				o := &websocket.DialOptions{HTTPClient: r.dialer, Subprotocols: []string{frame.Protocol},
					HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token(tenant, fmt.Sprint("probe ", i/2), time.Minute)}}}
				ws, _, err := websocket.Dial(s.w.ctx(), "ws"+GatewayURL(n)[4:]+"/v1/ws", o)
				if (err == nil) != (i < maxTenantSessions) {
					s.wrong("%s: session %d of %s, which has none: %v", p.Name, i, tenant, err)
				}
				if err == nil {
					open = append(open, ws)
				}
			}
			s.watches(r, open, tenant)
			for _, ws := range open {
				_ = ws.CloseNow()
			}
		}
	}
	for _, p := range up {
		s.w.eventually("the probes have gone", func() bool { return p.Count("ackwire_gateway_sessions") == 0 })
	}
	s.w.eventually("the tracker watches nothing", func() bool { return s.w.tracker.Count("ackwire_tracker_watches") == 0 })
}

// watches takes as many watches as a tenant may have, of jobs that have not begun.
func (s *storm) watches(r *rover, open []*websocket.Conn, tenant string) {
	if len(open) < 3 {
		return
	}
	taken := 0
	for i := range 3 * maxSubscriptions {
		l := &link{rover: r, ws: open[i/maxSubscriptions], pending: map[string]request{}, follows: map[string]*following{}}
		l.send(request{kind: frame.Submit}, `,"job":"demo.echo","payload":1,"runAt":"%s"`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		for {
			_, b, err := l.ws.Read(s.w.ctx())
			var f struct {
				Type frame.Type
				Code string
			}
			if err != nil || json.Unmarshal(b, &f) != nil {
				s.wrong("probe: %v", err)
				return
			}
			if f.Type == frame.Ack {
				taken++
			}
			if f.Type == frame.Ack || f.Type == frame.Error {
				break
			}
		}
		time.Sleep(100 * time.Millisecond) // below the rate of submits
	}
	if taken != maxTenantSubscriptions {
		s.wrong("%s, which watched nothing, may watch %d jobs, and not %d", tenant, taken, maxTenantSubscriptions)
	}
}
