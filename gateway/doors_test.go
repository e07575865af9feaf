package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/console"
	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// reach says which jobs a door is about.
type reach int

const (
	noJob     reach = iota // none that exists
	anyID                  // none: the answer is the same for every ID, whatever job has it
	readJob                // one that the client may read
	cancelJob              // one that it may cancel
	retryJob               // one that it may retry
	eraseJob               // one that it may read, to be erased
	allJobs                // all that it may read
)

// door is a row of the table: what a request needs, and which jobs it then reaches.
type door struct {
	needs auth.Permissions
	reach reach
	body  string // ID is replaced by the job's
	query string
}

const bulkPreview = `{"action":"erase","filter":{},"preview":true}`

// doors is the table of all requests by which a client can learn something of a job, or change one: a route's method,
// or the type of a frame. docs/security.md has it in words.
var doors = map[string]door{
	"GET /v1/jobs":                      {auth.Read, allJobs, "", "?state=completed"},
	"HEAD /v1/jobs":                     {auth.Read, noJob, "", ""},
	"POST /v1/jobs":                     {auth.Submit, noJob, `{"job":"demo.echo","payload":1}`, ""},
	"POST /v1/jobs:batch":               {auth.Submit, noJob, `{"jobs":[{"job":"demo.echo","payload":1}]}`, ""},
	"GET /v1/jobs/{id}":                 {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}":                {auth.Read, readJob, "", ""},
	"DELETE /v1/jobs/{id}":              {auth.Read | auth.Erase, eraseJob, "", ""},
	"GET /v1/jobs/{id}/why":             {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/why":            {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/result":          {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/result":         {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/deliveries":      {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/deliveries":     {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/history":         {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/history":        {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/payload":         {auth.Read | auth.Payloads, readJob, "", ""},
	"HEAD /v1/jobs/{id}/payload":        {auth.Read | auth.Payloads, readJob, "", ""},
	"GET /v1/jobs/{id}/events":          {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/events":         {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/streams":         {auth.Read, readJob, "", ""},
	"HEAD /v1/jobs/{id}/streams":        {auth.Read, readJob, "", ""},
	"GET /v1/jobs/{id}/streams/{name}":  {auth.Read, readJob, "", "?offset=-1"},
	"HEAD /v1/jobs/{id}/streams/{name}": {auth.Read, readJob, "", ""},
	"GET /v1/events":                    {auth.Read, readJob, "", "?job=ID"},
	"HEAD /v1/events":                   {auth.Read, readJob, "", "?job=ID"},
	"POST /v1/events":                   {auth.Read, readJob, `{"jobs":[{"jobId":"ID"}]}`, ""},
	"POST /v1/jobs/{id}/cancel":         {auth.Cancel, cancelJob, "", ""},
	"POST /v1/jobs/{id}/retry":          {auth.Submit, retryJob, "", ""},
	"POST /v1/bulk":                     {auth.Read | auth.Erase, noJob, bulkPreview, ""},
	"GET /v1/stats":                     {auth.Read, allJobs, "", ""},
	"HEAD /v1/stats":                    {auth.Read, noJob, "", ""},
	"GET /v1/activity":                  {auth.ReadTenant, noJob, "", ""},
	"HEAD /v1/activity":                 {auth.ReadTenant, noJob, "", ""},
	"GET /v1/job-types":                 {auth.Read, noJob, "", ""},
	"HEAD /v1/job-types":                {auth.Read, noJob, "", ""},
	"GET /v1/dead":                      {auth.Operate, noJob, "", ""},
	"HEAD /v1/dead":                     {auth.Operate, noJob, "", ""},
	"GET /v1/dead/{id}":                 {auth.Operate, anyID, "", ""},
	"HEAD /v1/dead/{id}":                {auth.Operate, anyID, "", ""},
	"POST /v1/dead/{id}/requeue":        {auth.Operate, anyID, "", ""},
	"GET /v1/workers":                   {auth.Operate, noJob, "", ""},
	"GET /v1/system":                    {auth.Operate, noJob, "", ""},
	"HEAD /v1/system":                   {auth.Operate, noJob, "", ""},
	"GET /v1/webhooks":                  {auth.Operate, noJob, "", ""},
	"HEAD /v1/webhooks":                 {auth.Operate, noJob, "", ""},
	"GET /v1/audit":                     {auth.Operate, noJob, "", ""},
	"HEAD /v1/audit":                    {auth.Operate, noJob, "", ""},
	"HEAD /v1/workers":                  {auth.Operate, noJob, "", ""},
	"POST /v1/ws-tickets":               {0, noJob, "", ""},
	"POST /v1/grants":                   {0, anyID, `{"ttl":60,"jobs":["ID"]}`, ""},
	"GET /v1/ws":                        {0, noJob, "", ""},
	"GET /console/session":              {0, noJob, "", ""},
	"HEAD /console/session":             {0, noJob, "", ""},
	"GET /console/login":                {0, noJob, "", ""},
	"HEAD /console/login":               {0, noJob, "", ""},
	"POST /console/login":               {0, noJob, `{"redirect":""}`, ""},
	"POST /console/token":               {0, noJob, `{"code":"c","state":"s"}`, ""},

	"frame auth":        {0, noJob, "", ""},
	"frame ping":        {0, noJob, `{"type":"ping","id":"x"}`, ""},
	"frame submit":      {auth.Submit, noJob, `{"type":"submit","id":"x","job":"demo.echo","payload":1}`, ""},
	"frame submitBatch": {auth.Submit, noJob, `{"type":"submitBatch","id":"x","jobs":[{"job":"demo.echo","payload":1}]}`, ""},
	"frame subscribe":   {auth.Read, readJob, `{"type":"subscribe","id":"x","jobs":[{"jobId":"ID"}]}`, ""},
	"frame unsubscribe": {auth.Read, noJob, `{"type":"unsubscribe","id":"x","jobs":["ID"]}`, ""},
	"frame watchList":   {auth.Read, noJob, `{"type":"watchList","id":"x","list":"l"}`, ""},
	"frame unwatchList": {auth.Read, noJob, `{"type":"unwatchList","id":"x","list":"l"}`, ""},
	"frame cancel":      {auth.Cancel, cancelJob, `{"type":"cancel","id":"x","jobId":"ID"}`, ""},
	"frame retry":       {auth.Submit, retryJob, `{"type":"retry","id":"x","jobId":"ID","watch":false}`, ""},
}

// TestEveryDoorHasARow: a route, a method or a frame that is added must be added to the table.
func TestEveryDoorHasARow(t *testing.T) {
	var all []string
	all = append(all, unserved(t, func(*Config) {}).api.Routes()...)
	all = append(all, console.Routes...)
	for _, typ := range frame.ClientTypes {
		all = append(all, "frame "+string(typ))
	}
	for _, name := range all {
		if _, ok := doors[name]; !ok {
			t.Errorf("%s has no row in the table of doors", name)
		}
	}
	for name := range doors {
		if !slices.Contains(all, name) {
			t.Errorf("the table has a row for %s, which there is not", name)
		}
	}
}

// target is a job as the client alice of acme sees it.
type target struct {
	name          string
	tenant, owner string // empty for a job that does not exist
}

var targets = []target{
	{"own", "acme", "alice"}, {"another user's", "acme", "bob"}, {"another tenant's", "globex", "alice"}, {"none", "", ""},
}

// id is the target's job, in a state in which the door's order is refused with invalid_state.
func (x target) id(of reach) string {
	return fmt.Sprintf("019c1db0-01c0-7a54-9d8e-%08x%04d", len(x.name), of)
}

// reaches says whether the client may use the door for the target's job.
func (d door) reaches(p auth.Permissions, x target) bool {
	whole := auth.ReadTenant
	if d.reach == cancelJob || d.reach == retryJob {
		whole = auth.CancelTenant
	}
	switch {
	case x.tenant == "":
		return false
	case p.Has(auth.Operate) || x.tenant == "acme" && x.owner == "alice":
		return true
	}
	return x.tenant == "acme" && p.Has(whole)
}

// permits says whether the client may use the door at all.
func (d door) permits(p auth.Permissions) bool {
	return p.Has(d.needs) || (d.reach == cancelJob || d.reach == retryJob) && p.Has(auth.Operate)
}

// TestDoors tries each door with each permission for a job of one's own, of another user, of another tenant, and for
// none. What may not be seen is answered byte for byte as what does not exist.
func TestDoors(t *testing.T) {
	configure := func(c *Config) {
		tokensOnly(c)
		c.Console, c.ConsoleLogin = true, loginAt("http://127.0.0.1:1")
		c.Bulk.Mode = BulkOn
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		for _, x := range targets {
			for _, r := range []reach{readJob, cancelJob, retryJob, eraseJob} {
				state := job.Completed
				if r == retryJob || r == eraseJob {
					state = job.Processing
				}
				if x.tenant != "" {
					w.tracker.put(x.tenant, 1, "default", x.owner, job.Document{
						JobID: x.id(r), Type: "demo.echo", State: state, Result: []byte(`"secret"`),
					})
				}
			}
		}
		permissions := append(auth.PermissionNames(), "", "admin", "submit+cancel:tenant", "cancel+read:tenant",
			"submit+read+cancel+payloads")
		for _, words := range permissions {
			p, err := auth.ParsePermissions(words)
			if err != nil {
				t.Fatal(err)
			}
			names := strings.FieldsFunc(words, func(r rune) bool { return r == '+' })
			who := w.header("acme", "alice", append(slices.Clip(names), "payloads")...)
			for name, d := range doors {
				w.tryDoor(fmt.Sprintf("%s with %q and payloads", name, words), name, d, p|auth.Payloads, who)
				if d.needs.Has(auth.Payloads) && len(names) > 0 {
					w.tryDoor(fmt.Sprintf("%s with %q", name, words), name, d, p, w.header("acme", "alice", names...))
				}
			}
		}
	})
}

// tryDoor checks the door's answers for all targets.
func (w *world) tryDoor(what, name string, d door, p auth.Permissions, who http.Header) {
	w.t.Helper()
	if name == "frame auth" || name == "GET /v1/ws" {
		w.knockAs(who) // opens a socket, by the token in its handshake
		return
	}
	of := d.reach
	if of != cancelJob && of != retryJob && of != eraseJob {
		of = readJob
	}
	answers := map[string]string{}
	for _, x := range targets {
		answers[x.name] = w.knock(name, d, x.id(of), who)
	}
	none := answers["none"]
	for _, x := range targets {
		got := answers[x.name]
		forbidden := strings.Contains(got, `"forbidden"`) || strings.HasPrefix(got, "403")
		missing := strings.Contains(got, `"not_found"`) || strings.HasPrefix(got, "404")
		switch {
		case !d.permits(p):
			if !forbidden || got != none {
				w.t.Errorf("%s, %s job: not forbidden, or not as for none: %s", what, x.name, got)
			}
		case d.reach == anyID:
			if got != none {
				w.t.Errorf("%s, %s job: %s, and none: %s", what, x.name, got, none)
			}
		case d.reach == noJob:
			if forbidden || missing {
				w.t.Errorf("%s: %s", what, got)
			}
		case d.reach == allJobs:
			continue // below
		case d.reaches(p, x):
			if forbidden || missing {
				w.t.Errorf("%s, %s job, which it may use: %s", what, x.name, got)
			}
		case d.reach != readJob && p.Has(auth.Read) && door{reach: readJob}.reaches(p, x):
			if !forbidden {
				w.t.Errorf("%s, %s job, which it may read and not order: %s", what, x.name, got)
			}
		case !missing || got != none:
			w.t.Errorf("%s, %s job: %s, and none: %s", what, x.name, got, none)
		}
	}
	if d.reach != allJobs || !d.permits(p) {
		return
	}
	want := 2 // one's own that have completed
	if p.Has(auth.ReadTenant) {
		want = 4 // and bob's; those of another tenant are asked for by its name
	}
	if n := strings.Count(none, "demo.echo"); name == "GET /v1/jobs" && n != want {
		w.t.Errorf("%s: lists %d jobs, want %d: %s", what, n, want, none)
	} else if name == "GET /v1/stats" && !strings.Contains(none, fmt.Sprintf(`"state":"completed","jobs":%d}`, want)) {
		w.t.Errorf("%s: counts other than %d jobs: %s", what, want, none)
	}
}

func (w *world) knockAs(who http.Header) *client {
	w.t.Helper()
	c, _, err := w.dialRaw(dialOptions{header: who})
	if err != nil {
		w.t.Fatal(err)
	}
	c.want("a welcome", frame.Welcome)
	return c
}

// knock uses a door and returns its whole answer, with JOB in place of the job's ID.
func (w *world) knock(name string, d door, id string, who http.Header) string {
	w.t.Helper()
	text := strings.ReplaceAll(d.body, "ID", id)
	if typ, ok := strings.CutPrefix(name, "frame "); ok {
		c := w.knockAs(who)
		c.send("%s", text)
		answer := c.answerTo("x").raw
		_ = c.ws.CloseNow()
		if strings.HasPrefix(typ, "submit") && strings.Contains(answer, `"ack"`) {
			return "ack" // its job's ID is a new one
		}
		return strings.ReplaceAll(answer, id, "JOB")
	}
	method, path, _ := strings.Cut(name, " ")
	header := who.Clone()
	header.Set("Content-Type", "application/json")
	header.Set("X-Request-Id", "door")
	if strings.Contains(path, "/events") && method == "POST" {
		header.Set("Prefer", "wait=1")
	}
	path = strings.NewReplacer("{id}", id, "{name}", "tokens").Replace(path) + strings.ReplaceAll(d.query, "ID", id)
	a := w.http(method, path, header, strings.NewReader(text))
	for _, varies := range []string{"Date", "Retry-After"} {
		a.header.Del(varies)
	}
	if d.reach == noJob || d.reach == anyID {
		a.header.Del("Location") // its job's ID is a new one
		return fmt.Sprintf("%d %s", a.status, a.code)
	}
	return strings.ReplaceAll(fmt.Sprintf("%d %v %s", a.status, a.header, a.body), id, "JOB")
}

// TestOperatorsNameATenant: lists and counts are of one tenant; who may operate names another.
func TestOperatorsNameATenant(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		w.tracker.put("globex", 1, "default", "bob", job.Document{JobID: jobA, Type: "demo.echo", State: job.Completed})
		for _, path := range []string{"/v1/jobs?tenant=globex", "/v1/stats?tenant=globex"} {
			if a := w.http("GET", path, w.header("acme", "root", "operate"), nil); strings.Count(a.body, "demo.echo") != 1 {
				t.Errorf("%s of an operator: %d %s", path, a.status, a.body)
			}
			if a := w.http("GET", path, w.header("acme", "root", "read:tenant"), nil); a.code != "forbidden" {
				t.Errorf("%s of another: %d %s", path, a.status, a.body)
			}
			if a := w.http("GET", path+"&tenant=x", w.header("acme", "root", "operate"), nil); a.status != 400 {
				t.Errorf("%s twice: %d %s", path, a.status, a.body)
			}
		}
	})
}

// TestKeysAreOfOneUser: a key says nothing of the jobs of others, and a job that an earlier version made by a key is
// still found by it, by its own user.
func TestKeysAreOfOneUser(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		submit := func(user, key string) string {
			h := w.header("acme", user)
			h.Set("Content-Type", "application/json")
			h.Set("Idempotency-Key", key)
			a := w.http("POST", "/v1/jobs", h, strings.NewReader(`{"job":"demo.echo","payload":1}`))
			return strings.NewReplacer(intake.KeyedID(nil, "acme", "", "demo.echo", key), "FORMER").Replace(a.body)
		}
		bobs := submit("bob", "k")
		if again := submit("bob", "k"); !strings.Contains(again, `"duplicate":true`) {
			t.Errorf("a repeated key: %s", again)
		}
		if alices := submit("alice", "k"); strings.Contains(alices, "duplicate") || alices == bobs {
			t.Errorf("a key that bob has used: %s, bob's: %s", alices, bobs)
		}
		hash, err := intake.PayloadHash([]byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		former := intake.KeyedID(nil, "acme", "", "demo.echo", "old")
		w.tracker.put("acme", 1, "default", "bob", job.Document{JobID: former, Type: "demo.echo", State: job.Completed})
		w.tracker.mu.Lock()
		w.tracker.jobs[former].hash = hash
		w.tracker.mu.Unlock()
		if again := submit("bob", "old"); !strings.Contains(again, "FORMER") || !strings.Contains(again, `"duplicate":true`) {
			t.Errorf("a key of an earlier version: %s", again)
		}
		if alices := submit("alice", "old"); strings.Contains(alices, "FORMER") || strings.Contains(alices, "duplicate") {
			t.Errorf("bob's key of an earlier version: %s", alices)
		}
	})
}
