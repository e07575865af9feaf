package gateway

import (
	"net/http"
	"regexp"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/frame"
)

// What every request passes through.

const (
	requestIDHeader = "X-Request-Id"
	corsMaxAge      = 600  // seconds that a browser keeps the answer to a preflight
	gzipMinBytes    = 1400 // what fits into one packet is not worth it
)

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identified gives each request an ID, the client's own if that is harmless, and says it in the
// answer and in the log. A browser is to take no answer for a page, whatever users wrote into it.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !requestIDs.MatchString(id) {
			id = uuid.NewString()
		}
		w.Header().Set(requestIDHeader, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if parent := r.Header.Get(frame.TraceparentHeader); tracing.Parse(parent, "").IsValid() {
			w.Header().Set(frame.TraceparentHeader, parent)
		}
		next.ServeHTTP(w, r)
	})
}

// leavingSaid tells clients of a gateway that is to stop to send the next request over another
// connection: one that is idle when the listener closes would be cut beside a request on its way.
func (g *Gateway) leavingSaid(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.leaving:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// crossOrigin lets pages of the configured origins use the HTTP API (Fetch, CORS). They prove
// who they are with a token: no cookie means anything here.
func (g *Gateway) crossOrigin(next http.Handler) http.Handler {
	if len(g.cfg.AllowedOrigins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowOriginFunc: g.allowedOrigin,
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", lastEventID, "Prefer",
			"Range", frame.TraceparentHeader, frame.TracestateHeader, requestIDHeader},
		ExposedHeaders: []string{"Content-Disposition", "Content-Range", "ETag", "Location", preferenceApplied, "Retry-After",
			frame.AsOfHeader, requestIDHeader},
		MaxAge:               corsMaxAge,
		OptionsSuccessStatus: http.StatusNoContent,
	}).Handler(next)
}

// gzipped compresses answers that are worth it, for clients that take it.
func gzipped(serve http.HandlerFunc) http.HandlerFunc {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(gzipMinBytes))
	if err != nil {
		panic(err) // the options are constants
	}
	return wrap(serve)
}
