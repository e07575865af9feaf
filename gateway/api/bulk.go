package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/bulkjob"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Bulk takes bulk actions; bulkjob.Door implements it.
type Bulk interface {
	Preview(ctx context.Context, a bulkjob.Ask) (frame.BulkAnswer, error)
	Order(ctx context.Context, a bulkjob.Ask) (frame.BulkAnswer, error)
}

// bulks are the route of bulk actions.
type bulks struct{ *door }

// postBulk handles POST /v1/bulk.
func (bs *bulks) postBulk(w http.ResponseWriter, r *http.Request) {
	id, ok := bs.identify(w, r, 0)
	if !ok {
		return
	}
	if bs.cfg.Bulk == nil {
		bs.problem(w, frame.NewProblem(code.NotFound, "this gateway takes no bulk actions: its setting bulk is off"))
		return
	}
	answer, preview, err := bs.bulk(w, r, id)
	if err != nil {
		bs.problem(w, err)
		return
	}
	if preview {
		bs.answer(w, answer)
		return
	}
	h := w.Header()
	h.Set("Location", answer.StatusURL)
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = plainjson.Write(w, answer)
}

func (bs *bulks) bulk(
	w http.ResponseWriter, r *http.Request, id auth.Identity,
) (answer frame.BulkAnswer, preview bool, err error) {
	if _, err := readQuery(r); err != nil {
		return answer, false, err
	}
	body, err := bs.readJSON(w, r, int64(bs.cfg.FrameBytes))
	if err != nil {
		return answer, false, err
	}
	asked, err := wire.DecodeBulk(body)
	if err != nil {
		return answer, false, err
	}
	if !bulkjob.May(id, asked.Action) {
		return answer, false, frame.NewProblem(code.Forbidden, fmt.Sprintf(
			"the token does not permit this: it needs %s, and must be no grant", bulkjob.Needs(asked.Action)))
	}
	a := bulkjob.Ask{ID: id, Action: asked.Action, Filter: asked.Filter, Expect: asked.Expect}
	if a.List, err = filterRequest(url.Values(asked.Filter), id); err != nil {
		return answer, false, err
	}
	if a.Key, err = frame.ParseKey(r.Header.Values(frame.KeyHeader)); err != nil {
		return answer, false, frame.NewProblem(code.InvalidFrame, err.Error())
	}
	switch {
	case a.Key != "" && asked.Key != "" && a.Key != asked.Key:
		return answer, false, frame.NewProblem(code.InvalidFrame, "key and Idempotency-Key differ")
	case a.Key == "":
		a.Key = asked.Key
	}
	if utf8.RuneCountInString(a.Key) > frame.MaxKeyChars {
		return answer, false, invalid("key", "is longer than %d characters", frame.MaxKeyChars)
	}
	if err := bs.cfg.Limits.List(id.Tenant, id.Account()); err != nil {
		return answer, false, err
	}
	if asked.Preview {
		answer, err = bs.cfg.Bulk.Preview(r.Context(), a)
		return answer, true, err
	}
	if asked.Expect == nil || *asked.Expect < 1 {
		return answer, false, invalid("expect", "must be the number of jobs that match, at least 1; preview tells it")
	}
	answer, err = bs.cfg.Bulk.Order(traceable(w, r), a)
	return answer, false, err
}
