package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// listChanged reads the next change of a list.
func (c *client) listChanged(why string) (f frame.ListChangedFrame) {
	c.w.t.Helper()
	got := c.want(why, frame.ListChanged)
	if err := json.Unmarshal([]byte(got.raw), &f); err != nil {
		c.w.t.Fatalf("%s: %s: %v", why, got.raw, err)
	}
	return f
}

// TestAListIsWatched follows a list from its begin to its end.
func TestAListIsWatched(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c, other := w.dial(""), w.dial("")
		const filter = `{"state":["failed","processing"],"type":"b,a","createdAfter":"2026-01-01T00:00:00.0001Z"}`
		c.send(`{"type":"watchList","id":"1","list":"jobs","filter":%s}`, filter)
		if got := c.want("the answer", frame.ListWatched); got.raw != `{"type":"listWatched","id":"1","list":"jobs"}` {
			t.Errorf("the answer is %s", got.raw)
		}
		other.send(`{"type":"watchList","id":"1","list":"mine","filter":%s}`, filter)
		other.want("the answer", frame.ListWatched)
		if all := w.tracker.watchedLists(); len(all) != 1 || all[0].Tenant != "local" ||
			strings.Join(all[0].States, " ") != "failed processing" || strings.Join(all[0].Types, " ") != "a b" ||
			all[0].CreatedFrom != time.Date(2026, 1, 1, 0, 0, 0, 1e6, time.UTC).UnixMilli() {
			t.Errorf("the trackers are asked for %v", all)
		}

		w.tracker.tellLists(0, rowOf(1, 5), &trackerpb.ListChange{JobId: "gone", Version: 7, Left: true},
			&trackerpb.ListChange{JobId: "large", Version: 8})
		for _, c := range []*client{c, other} {
			got := c.listChanged("a change")
			if len(got.Rows) != 2 || got.Rows[0].Version != 5 || string(got.Rows[0].Job) != string(rowOf(1, 5).Document) ||
				got.Rows[1].JobID != "large" || got.Rows[1].Version != 8 || got.Rows[1].Job != nil ||
				len(got.Left) != 1 || got.Left[0] != (frame.LeftRow{JobID: "gone", Version: 7}) || got.Again {
				t.Errorf("a change: %+v", got)
			}
		}
		began := time.Now()
		for v := range int64(50) {
			w.tracker.tellLists(0, rowOf(2, 10+v))
		}
		if got := c.listChanged("the newest"); len(got.Rows) != 1 || got.Rows[0].Version != 59 ||
			time.Since(began) > 250*time.Millisecond {
			t.Errorf("the newest: %+v after %s", got, time.Since(began))
		}

		w.tracker.tellLists(40)
		if got := c.listChanged("a tracker's overflow"); !got.Again || got.Missed != 40 {
			t.Errorf("a tracker's overflow: %+v", got)
		}
		w.tracker.coverLists(true)
		w.tracker.coverLists(false)
		if got := c.listChanged("a partition that has moved"); !got.Again || got.Missed != 0 {
			t.Errorf("a partition that has moved: %+v", got)
		}

		c.send(`{"type":"watchList","id":"2","list":"jobs"}`)
		c.want("another list in its place", frame.ListWatched)
		w.eventually("two lists", func() bool { return len(w.tracker.watchedLists()) == 2 })
		c.send(`{"type":"unwatchList","id":"3","list":"jobs"}`)
		c.want("its end", frame.ListUnwatched)
		c.send(`{"type":"unwatchList","id":"4","list":"jobs"}`)
		c.want("also of nothing", frame.ListUnwatched)
		_ = other.ws.CloseNow()
		w.eventually("nothing is watched", func() bool {
			return len(w.tracker.watchedLists()) == 0 && w.gauge("ackwire_gateway_list_subscriptions") == 0 &&
				w.gauge("ackwire_gateway_lists") == 0
		})
		if n := w.gauge("ackwire_gateway_list_overflows_total"); n < 4 {
			t.Errorf("%v overflows are counted", n)
		}
	})
}

// TestAListIsRefused: what a client asks for in vain.
func TestAListIsRefused(t *testing.T) {
	bounds := func(c *Config) {
		tokensOnly(c)
		c.Limits.SubjectLists, c.Limits.TenantLists = 3, 5
	}
	inWorld(t, bounds, func(t *testing.T, w *world) {
		c := w.dial(w.token("acme", "alice", time.Hour))
		var names []string
		for i := range 101 {
			names = append(names, fmt.Sprintf(`"%d"`, i))
		}
		many := strings.Join(names, ",")
		for _, x := range []struct{ fields, code string }{
			{``, "invalid_frame"}, {`,"list":""`, "invalid_frame"}, {`,"list":7`, "invalid_frame"},
			{`,"list":"` + strings.Repeat("x", 65) + `"`, "invalid_frame"},
			{`,"list":"l","filter":7`, "invalid_frame"}, {`,"list":"l","filter":{"state":7}`, "invalid_frame"},
			{`,"list":"l","filter":{"state":[7]}`, "invalid_frame"},
			{`,"list":"l","filter":{"state":["lost"]}`, "invalid_frame"},
			{`,"list":"l","filter":{"states":["failed"]}`, "invalid_frame"},
			{`,"list":"l","filter":{"limit":"7"}`, "invalid_frame"}, {`,"list":"l","filter":{"cursor":"x"}`, "invalid_frame"},
			{`,"list":"l","filter":{"type":[""]}`, "invalid_frame"},
			{`,"list":"l","filter":{"lane":["a b"]}`, "invalid_frame"},
			{`,"list":"l","filter":{"type":[` + many + `]}`, "invalid_frame"},
			{`,"list":"l","filter":{"type":["` + strings.Repeat("x", 129) + `"]}`, "invalid_frame"},
			{`,"list":"l","filter":{"mine":true,"subject":["bob"]}`, "invalid_frame"},
			{`,"list":"l","filter":{"createdAfter":"yesterday"}`, "invalid_frame"},
			{`,"list":"l","filter":{"createdAfter":"1969-01-01T00:00:00Z"}`, "invalid_frame"},
			{`,"list":"l","filter":{"tenant":"globex"}`, "forbidden"},
		} {
			c.send(`{"type":"watchList","id":"x"%s}`, x.fields)
			c.wantError(x.fields, x.code)
		}
		if n := len(w.tracker.watchedLists()); n != 0 {
			t.Errorf("%d lists are watched", n)
		}
		for i := range 4 {
			c.send(`{"type":"watchList","id":"x","list":"%d"}`, i)
			if i < 3 {
				c.want("a list", frame.ListWatched)
			}
		}
		c.wantError("the user has one too many", "limit_exceeded")
		if n := w.gauge("ackwire_gateway_turned_away_total", "subject_lists"); n != 1 {
			t.Errorf("%v were turned away", n)
		}
		_ = c.ws.CloseNow()
		w.eventually("they are free again", func() bool { return w.gauge("ackwire_gateway_list_subscriptions") == 0 })
		c = w.dial(w.token("acme", "alice", time.Hour))
		c.send(`{"type":"watchList","id":"x","list":"1"}`)
		c.want("a list", frame.ListWatched)
	})
}

// TestASocketWatchesSoManyLists: the bound of a socket, which are also among its subscriptions.
func TestASocketWatchesSoManyLists(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		for i := range frame.MaxWatchedLists + 1 {
			c.send(`{"type":"watchList","id":"x","list":"%d","filter":{"type":["%d"]}}`, i, i)
			if i < frame.MaxWatchedLists {
				c.want("a list", frame.ListWatched)
			}
		}
		c.wantError("one too many", "limit_exceeded")
	})
	inWorld(t, func(c *Config) { c.Subscriptions = 2 }, func(t *testing.T, w *world) {
		c := w.dial("")
		for i := range 3 {
			c.send(`{"type":"watchList","id":"x","list":"%d"}`, i)
			if i < 2 {
				c.want("a list", frame.ListWatched)
			}
		}
		c.wantError("one too many", "limit_exceeded")
	})
}

// TestAListWithoutATracker: a list that no tracker covers is refused in time.
func TestAListWithoutATracker(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.mu.Lock()
		w.tracker.mute = true
		w.tracker.mu.Unlock()
		c := w.dial("")
		c.send(`{"type":"watchList","id":"1","list":"a"}`)
		c.wantError("nobody answers", "unavailable")
		c.send(`{"type":"watchList","id":"2","list":"a"}`)
		c.send(`{"type":"unwatchList","id":"3","list":"a"}`)
		c.wantError("what waits is answered first", "unavailable")
		c.want("its end", frame.ListUnwatched)
		w.eventually("nothing is left", func() bool { return w.gauge("ackwire_gateway_list_subscriptions") == 0 })
	})
}

// TestWhatAListMayHave: the trackers are asked for nothing that the client may not see.
func TestWhatAListMayHave(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		for name, x := range map[string]struct {
			permissions, filter string
			want                string // tenant, whether own, and subject of the scope
		}{
			"own":                   {"read", `{}`, "acme true alice"},
			"own, of another":       {"read", `{"subject":["bob"]}`, "acme true alice"},
			"the tenant's":          {"read:tenant", `{}`, "acme false "},
			"an operator's own":     {"operate", `{}`, "acme false "},
			"an operator's another": {"operate", `{"tenant":"globex"}`, "globex false "},
		} {
			c := w.knockAs(w.header("acme", "alice", x.permissions))
			c.send(`{"type":"watchList","id":"1","list":"l","filter":%s}`, x.filter)
			c.want(name, frame.ListWatched)
			all := w.tracker.watchedLists()
			if len(all) != 1 {
				t.Fatalf("%s: %d lists", name, len(all))
			}
			got := fmt.Sprintf("%s %v %s", all[0].Tenant, all[0].Scope.Own, all[0].Scope.Subject)
			if got != x.want || all[0].Scope.AnyTenant {
				t.Errorf("%s: %q, want %q", name, got, x.want)
			}
			_ = c.ws.CloseNow()
			w.eventually("nothing is left", func() bool { return len(w.tracker.watchedLists()) == 0 })
		}
		c := w.knockAs(w.header("acme", "alice", "submit"))
		c.send(`{"type":"watchList","id":"1","list":"l"}`)
		c.wantError("without read", "forbidden")
	})
}

// TestARenewedTokenEndsLists: what a renewed token does not cover ends, and nothing of it is told any more.
func TestARenewedTokenEndsLists(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		bearer := func(permissions ...string) string {
			return strings.TrimPrefix(w.header("acme", "alice", permissions...).Get("Authorization"), "Bearer ")
		}
		for name, x := range map[string]struct {
			before, filter string
			after          []string
			ends           bool
		}{
			"the same":                        {"read:tenant", `{}`, []string{"read:tenant"}, false},
			"more":                            {"read", `{}`, []string{"read:tenant"}, false},
			"only own":                        {"read:tenant", `{}`, []string{"read"}, true},
			"no read":                         {"read", `{}`, []string{"submit"}, true},
			"an operator no more":             {"operate", `{"tenant":"globex"}`, []string{"read:tenant"}, true},
			"an operator no more, of its own": {"operate", `{}`, []string{"read:tenant"}, false},
		} {
			c := w.knockAs(w.header("acme", "alice", x.before))
			c.send(`{"type":"watchList","id":"1","list":"l","filter":%s}`, x.filter)
			c.want(name, frame.ListWatched)
			c.send(`{"type":"auth","id":"2","token":"%s"}`, bearer(x.after...))
			c.want(name, frame.Welcome)
			if x.ends {
				got := c.want(name, frame.ListUnwatched)
				if got.raw != `{"type":"listUnwatched","list":"l","error":"forbidden"}` {
					t.Errorf("%s: %s", name, got.raw)
				}
			}
			w.tracker.tellLists(0, rowOf(1, 5))
			if !x.ends {
				c.listChanged(name)
			}
			time.Sleep(time.Second)
			if n := len(w.tracker.watchedLists()); (n == 0) != x.ends {
				t.Errorf("%s: %d lists are watched", name, n)
			}
			c.send(`{"type":"ping","id":"3"}`)
			c.want(name+": nothing else is told", frame.Pong)
			_ = c.ws.CloseNow()
			w.eventually("nothing is left", func() bool { return len(w.tracker.watchedLists()) == 0 })
		}
	})
}

// TestGrantsAndLists: a grant for single jobs watches no list, one for types only jobs of these.
func TestGrantsAndLists(t *testing.T) {
	configure := withGrants(t)
	inWorld(t, configure, func(t *testing.T, w *world) {
		who := w.header("acme", "alice", "read", "submit")
		grant := func(body string) http.Header {
			h := who.Clone()
			h.Set("Content-Type", "application/json")
			a := w.http("POST", "/v1/grants", h, strings.NewReader(body))
			var g frame.Grant
			if err := json.Unmarshal([]byte(a.body), &g); err != nil || g.Token == "" {
				t.Fatalf("a grant: %d %s", a.status, a.body)
			}
			return http.Header{"Authorization": {"Bearer " + g.Token}}
		}
		c := w.knockAs(grant(`{"ttl":60,"types":["demo.echo"],"permissions":["read"]}`))
		c.send(`{"type":"watchList","id":"1","list":"l"}`)
		c.want("of types", frame.ListWatched)
		if all := w.tracker.watchedLists(); len(all) != 1 || strings.Join(all[0].Scope.Types, " ") != "demo.echo" ||
			!all[0].Scope.Own {
			t.Errorf("the trackers are asked for %v", all)
		}
		c = w.knockAs(grant(`{"ttl":60,"jobs":["` + jobA + `"],"permissions":["read"]}`))
		c.send(`{"type":"watchList","id":"1","list":"l"}`)
		c.wantError("of a job", "forbidden")
		if id := (auth.Identity{Tenant: "acme", Permissions: auth.Read, Grant: &auth.Grant{Jobs: []string{jobA}}}); id.
			ListScope("acme") != nil {
			t.Error("a grant for jobs has a list")
		}
	})
}

// TestALotOfChangesIsABoundedRate: with 2,000 changes a second of 10,000 jobs a client gets 400 rows a second at most,
// and is told to ask again. When it calms down it has what is newest.
func TestALotOfChangesIsABoundedRate(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"watchList","id":"1","list":"l"}`)
		c.want("the answer", frame.ListWatched)
		type told struct{ frames, rows, again int }
		var all told
		var missed int64
		last := map[string]int64{}
		calm := make(chan struct{})
		go func() {
			defer close(calm)
			for n := range 100 { // ten seconds
				changes := make([]*trackerpb.ListChange, 200)
				for i := range changes {
					changes[i] = rowOf((n*200+i)*7919%10_000, int64(n+1))
				}
				w.tracker.tellLists(0, changes...)
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			w.tracker.tellLists(0, rowOf(0, 1000))
		}()
		for last["job-0"] != 1000 {
			f := c.listChanged("a change")
			all.frames++
			all.rows += len(f.Rows)
			missed += f.Missed
			if f.Again {
				all.again++
			}
			for _, r := range f.Rows {
				var doc struct{ JobID string }
				if json.Unmarshal(r.Job, &doc) != nil || r.Version < last[doc.JobID] {
					t.Fatalf("%s is version %d after %d", doc.JobID, r.Version, last[doc.JobID])
				}
				last[doc.JobID] = r.Version
			}
		}
		<-calm
		if all.rows > 12*400+100 || all.frames > 12*4*8 || all.again == 0 || all.again > 12*4 || missed > 20_000 {
			t.Errorf("%+v, %d missed", all, missed)
		}
	})
}

// TestAStalledSocketCostsABoundedMemory: a socket that reads nothing while lists change holds no rows. When it reads on
// it is told to ask again, and then what is newest.
func TestAStalledSocketCostsABoundedMemory(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"watchList","id":"1","list":"l"}`)
		c.want("the answer", frame.ListWatched)
		large := func(i int, version int64) *trackerpb.ListChange {
			r := rowOf(i, version)
			r.Document = []byte(strings.TrimSuffix(string(r.Document), "}") + `,"result":"` + strings.Repeat("x", 8000) + `"}`)
			return r
		}
		most := 0.0
		for n := range int64(80) { // ten seconds: before it counts as too slow
			changes := make([]*trackerpb.ListChange, 250)
			for i := range changes {
				changes[i] = large(i, n+1)
			}
			w.tracker.tellLists(0, changes...)
			time.Sleep(100 * time.Millisecond)
			most = max(most, w.gauge("ackwire_gateway_waiting_bytes"))
		}
		if most > 128<<10 { // of 20,000 rows with 160 MB
			t.Errorf("%v bytes wait for the socket", most)
		}
		w.tracker.tellLists(0, rowOf(7, 1000))
		again := false
		for {
			f := c.listChanged("a change")
			again = again || f.Again
			if len(f.Rows) > 0 && f.Rows[len(f.Rows)-1].Version == 1000 {
				break
			}
		}
		if !again {
			t.Error("it was not told to ask again")
		}
	})
}
