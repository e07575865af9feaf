package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// results are the route of the results of jobs.
type results struct{ *reads }

// getResult handles GET /v1/jobs/{id}/result: it answers with the result alone, from the document or from the blob
// store, and supports range requests (RFC 9110 §14).
func (rs *results) getResult(w http.ResponseWriter, r *http.Request) {
	got, _, ok := rs.readNow(w, r, false)
	if !ok {
		return
	}
	doc, err := upstream.Document(got.Job)
	if err != nil {
		rs.problem(w, err)
		return
	}
	// A result may contain anything that a client has sent: a browser must not run it as a page.
	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, no-cache")
	switch {
	case doc.State != job.Completed:
		rs.problem(w, frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has no result", doc.State)))
	case got.ResultBlob != nil:
		rs.serveBlob(w, r, doc, got.ResultBlob)
	case doc.ResultURL != "":
		http.Redirect(w, r, doc.ResultURL, http.StatusSeeOther) // it lies where the worker said
	default:
		h.Set("Content-Type", "application/json")
		h.Set("ETag", etag(got.Job.Version))
		result := doc.Result
		if len(result) == 0 {
			result = []byte("null")
		}
		h.Set("Content-Length", strconv.Itoa(len(result)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(result)
	}
}

func (rs *results) serveBlob(w http.ResponseWriter, r *http.Request, doc *job.Document, b *trackerpb.Blob) {
	if rs.cfg.Blobs == nil {
		rs.cfg.Log.Error("result is in a blob store, and this gateway has none", "job", doc.JobID)
		rs.problem(w, problem.Unavailable("this gateway has no blob store"))
		return
	}
	content, err := rs.cfg.Blobs.Open(r.Context(), b.Key)
	switch {
	case errors.Is(err, blobs.ErrNotFound):
		rs.cfg.Log.Error("result is gone", "job", doc.JobID, "err", err)
		rs.problem(w, frame.NewProblem(code.NotFound, "the result is gone"))
		return
	case err != nil:
		rs.cfg.Log.Warn("result not read", "job", doc.JobID, "err", err)
		rs.problem(w, problem.Unavailable("the blob store does not answer"))
		return
	}
	defer func() { _ = content.Close() }()
	h := w.Header()
	h.Set("Content-Type", b.ContentType)
	h.Set("ETag", strconv.Quote(b.Key[len(b.Key)-min(len(b.Key), 26):])) // its run
	if d := blobs.Disposition(b.Name); d != "" {
		h.Set("Content-Disposition", d)
	}
	http.ServeContent(w, r, b.Name, *doc.FinishedAt, content)
}
