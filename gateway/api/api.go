package api

import (
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// API serves HTTP.
type API struct {
	door   *door
	routes []route
	// serving counts the requests of HTTP/2 connections that are served; see boundStreams.
	serving atomic.Int64
}

// New returns an API.
func New(cfg Config) *API {
	d := &door{answers{&cfg}}
	return &API{door: d, routes: routesOf(d)}
}

// routesOf returns all routes. Each has a row in the table of doors, which says who may use it for what.
func routesOf(d *door) []route {
	lanes := newBacklogs(d.cfg)
	pace := newPace(d.cfg.HandshakeRate, d.cfg.TurnedAway, d.cfg.Drain)
	reads, tickets, orders := &reads{d}, &tickets{d}, &orders{d}
	whys, results := &whys{reads, lanes}, &results{reads}
	pasts := &pasts{reads}
	submits, lists := &submits{reads}, &lists{d, lanes}
	bulks := &bulks{d}
	grants, dead, types := &grants{d}, &deads{d}, newTypeRoutes(d, d.cfg.Types)
	fleet := &workers{lists}
	follows, sockets := &follows{d, pace, tickets}, &sockets{d, pace, tickets}
	streams := &streamRoutes{reads, follows}

	read := func(name string, serve http.HandlerFunc) map[string]endpoint {
		return map[string]endpoint{http.MethodGet: {name, serve}, http.MethodHead: {name, serve}}
	}
	post := func(name string, serve http.HandlerFunc) map[string]endpoint {
		return map[string]endpoint{http.MethodPost: {name, serve}}
	}
	jobs := read("list", gzipped(lists.listJobs))
	jobs[http.MethodPost] = endpoint{"submit", submits.postJob}
	one := read("get", reads.getJob)
	one[http.MethodDelete] = endpoint{"erase", orders.deleteJob}
	events := read("events", follows.getEvents)
	events[http.MethodPost] = endpoint{"events", follows.postEvents}
	return []route{
		{"/v1/jobs", jobs},
		{"/v1/jobs:batch", post("batch", submits.postBatch)},
		{"/v1/jobs/{id}", one},
		{"/v1/jobs/{id}/why", read("why", whys.getWhy)},
		{"/v1/jobs/{id}/result", read("result", results.getResult)},
		{"/v1/jobs/{id}/deliveries", read("deliveries", reads.getDeliveries)},
		{"/v1/jobs/{id}/history", read("history", gzipped(pasts.getHistory))},
		{"/v1/jobs/{id}/payload", read("payload", pasts.getPayload)},
		{"/v1/jobs/{id}/events", read("events", follows.getJobEvents)},
		{"/v1/jobs/{id}/streams", read("streams", streams.getStreams)},
		{"/v1/jobs/{id}/streams/{name}", read("stream", streams.getStream)},
		{"/v1/events", events},
		{"/v1/jobs/{id}/cancel", post("cancel", orders.orderJob(auth.Cancel, d.cfg.Orders.Cancel))},
		{"/v1/jobs/{id}/retry", post("retry", orders.orderJob(auth.Submit, d.cfg.Orders.Retry))},
		{"/v1/bulk", post("bulk", bulks.postBulk)},
		{"/v1/stats", read("stats", gzipped(lists.getStats))},
		{"/v1/activity", read("activity", gzipped(lists.getActivity))},
		{"/v1/job-types", read("job_types", gzipped(types.getJobTypes))},
		{"/v1/dead", read("dead", gzipped(dead.listDead))},
		{"/v1/dead/{id}", read("dead_get", dead.getDead)},
		{"/v1/dead/{id}/requeue", post("dead_requeue", dead.requeueDead)},
		{"/v1/workers", read("workers", gzipped(fleet.getWorkers))},
		{"/v1/system", read("system", fleet.getSystem)},
		{"/v1/webhooks", read("webhooks", gzipped(fleet.getWebhooks))},
		{"/v1/audit", read("audit", gzipped(fleet.getAudit))},
		{"/v1/grants", post("grant", grants.postGrant)},
		{"/v1/ws-tickets", post("ticket", tickets.postTicket)},
		{"/v1/ws", map[string]endpoint{http.MethodGet: {"ws", sockets.socket}}},
	}
}

// Routes returns the methods and paths of all routes, such as "GET /v1/jobs".
func (a *API) Routes() []string {
	var all []string
	for _, r := range a.routes {
		for method := range r.methods {
			all = append(all, method+" "+r.path)
		}
	}
	slices.Sort(all)
	return all
}

// Identify returns who sends a request, whatever it may do. If that is not known it answers, and reports false.
func (a *API) Identify(w http.ResponseWriter, r *http.Request) (auth.Identity, bool) {
	return a.door.identify(w, r, 0)
}

// Problem answers a request with an error.
func (a *API) Problem(w http.ResponseWriter, err error) { a.door.problem(w, err) }

// Handler returns the handler of all routes, with the middleware around it.
func (a *API) Handler() http.Handler {
	d := a.door
	mux := http.NewServeMux()
	for _, r := range a.routes {
		mux.HandleFunc(r.path, d.serveRoute(r.methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.problem(w, frame.NewProblem(code.NotFound, "no such route"))
		d.cfg.Metrics.Request(otherRoute, http.StatusNotFound, 0, false)
	})
	return identified(d.boundStreams(&a.serving, d.leavingSaid(d.crossOrigin(d.readable(mux)))))
}

// Serve serves a request of a route outside of the API, such as the console's, with a handler. The request gets an ID,
// the bounds of HTTP/2 streams and the metrics of the route, as those of the API do. route must be a name of
// [RouteNames], or one that was given to [NewMetrics].
func (a *API) Serve(route string, w http.ResponseWriter, r *http.Request, by http.HandlerFunc) {
	d := a.door
	identified(d.boundStreams(&a.serving, d.leavingSaid(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.serveEndpoint(endpoint{route, by}, w, r)
	})))).ServeHTTP(w, r)
}
