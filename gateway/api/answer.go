package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Headers and formats of answers.
const (
	asOfFormat        = "2006-01-02T15:04:05.000Z07:00"
	preferenceApplied = "Preference-Applied"
	lastEventID       = "Last-Event-ID" // of a request
)

// answers writes the answers of handlers.
type answers struct{ cfg *Config }

// problem answers with application/problem+json (RFC 9457).
func (a *answers) problem(w http.ResponseWriter, err error) {
	var p frame.Problem
	if !errors.As(err, &p) {
		a.cfg.Log.Error("request failed", "request", w.Header().Get(requestid.Header), "err", err)
		p = frame.NewProblem(code.Internal, "")
	}
	p.Status = p.Code.Info().HTTP
	a.cfg.Metrics.Error(p.Code)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Code == code.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter+0.999)))
	}
	w.WriteHeader(p.Status)
	_ = plainjson.Write(w, p)
}

// answer writes v as the body of 200.
func (a *answers) answer(w http.ResponseWriter, v any) {
	b, err := plainjson.Marshal(v)
	if err != nil {
		a.problem(w, fmt.Errorf("encode answer: %w", err))
		return
	}
	answerHead(w, len(b))
	_, _ = w.Write(b)
}

func answerHead(w http.ResponseWriter, size int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(size))
	w.WriteHeader(http.StatusOK)
}

func writeJob(w http.ResponseWriter, j *trackerpb.Job) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("ETag", etag(j.Version))
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(len(j.Document)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(j.Document)
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// seen reports whether the header If-None-Match matches a tag: it may list several tags, weak ones too, or be * (RFC
// 9110 §13.1.2).
func seen(h, tag string) bool {
	for t := range strings.SplitSeq(h, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

func unixTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// queryProblem returns the error for clients of a failed list or count. The query was checked before, so the error is
// never the client's fault.
func queryProblem(err error) error {
	if connect.CodeOf(err) == connect.CodeInvalidArgument {
		return fmt.Errorf("ask trackers: %w", err)
	}
	return problem.OfTracker(err)
}
