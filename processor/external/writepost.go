package external

import (
	"net/http"
	"strconv"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// request is one POST, read.
type request struct {
	claim  *claim
	seq    *string
	closes bool
	body   content
}

// append answers POST: an append, a close, or both (§5.2, §5.3). It is answered when what it has written is stored.
func (s *writeSide) append(w http.ResponseWriter, r *http.Request, name string, all *budget) error {
	t := s.find(name)
	if t == nil {
		return errNoStream(name)
	}
	body, release, err := s.readBody(w, r, all)
	if err != nil {
		return err
	}
	defer release()
	req, err := t.read(r, body)
	if err != nil {
		return err
	}
	status, err := t.take(req, w.Header())
	if flushed := t.stream.Flush(); err == nil {
		err = answerOf(flushed)
	}
	if err == nil || t.closed.Load() {
		t.tell(w.Header())
	}
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	return nil
}

// read reads a POST.
func (t *written) read(r *http.Request, body []byte) (req request, err error) {
	req.closes = closes(r)
	if req.claim, err = readClaim(r.Header); err != nil {
		return req, refuse(http.StatusBadRequest, job.CodeInvalidStream, "%s", err)
	}
	if seqs := r.Header.Values(streamSeq); len(seqs) > 0 {
		if len(seqs) > 1 || seqs[0] == "" || len(seqs[0]) > maxProducerBytes {
			return req, refuse(http.StatusBadRequest, job.CodeInvalidStream, "a Stream-Seq has 1 to 256 bytes")
		}
		req.seq = &seqs[0]
	}
	given := r.Header.Get("Content-Type")
	switch {
	case len(body) == 0 && req.closes:
		return req, nil
	case len(body) == 0:
		return req, refuse(http.StatusBadRequest, job.CodeInvalidStream, "the body is empty")
	case given == "":
		return req, refuse(http.StatusBadRequest, job.CodeInvalidStream, "there is no Content-Type")
	}
	if kind, ok := kindOf(given); !ok || kind != t.kind {
		return req, refuse(http.StatusConflict, codeStreamConflict, "the stream %s is %s", t.name, stream.ContentType(t.kind))
	}
	if req.body, err = parseContent(t.kind, body); err == nil && req.body.empty() {
		err = refuse(http.StatusBadRequest, job.CodeInvalidStream, "an empty array appends nothing")
	}
	return req, err
}

// take judges a request and writes what it appends. What it returns counts when all that was written is stored: also
// the answer to a duplicate, whose first request may not have been answered yet. It sets a producer's headers.
func (t *written) take(req request, h http.Header) (status int, err error) {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	if t.dropped {
		return 0, errNoStream(t.name)
	}
	again, err := t.judge(req, h)
	switch {
	case err != nil:
		return 0, err
	case again:
		return http.StatusNoContent, nil
	}
	if req.claim != nil && !t.knows(req.claim.id) {
		return 0, refuse(http.StatusTooManyRequests, codeLimitExceeded, "a run has at most %d producers", maxProducers)
	}
	if err := req.body.write(t.stream, t.kind); err != nil {
		return 0, err
	}
	if req.closes {
		t.closed.Store(true)
	}
	if req.seq != nil {
		t.seq = req.seq
	}
	if req.claim == nil {
		return http.StatusNoContent, nil
	}
	*t.producers[req.claim.id] = producer{epoch: req.claim.epoch, last: req.claim.seq}
	producerHead(h, req.claim.epoch, req.claim.seq)
	if req.body.empty() {
		return http.StatusNoContent, nil
	}
	return http.StatusOK, nil
}

// judge says whether a request was taken before. The error says why it is not taken at all.
func (t *written) judge(req request, h http.Header) (again bool, err error) {
	if c := req.claim; c != nil {
		p := t.producers[c.id]
		switch p.judge(*c) {
		case duplicate:
			producerHead(h, p.epoch, p.last)
			return true, nil
		case fenced:
			return false, refuse(http.StatusForbidden, codeProducerFenced, "the producer's epoch is %d", p.epoch).
				with(producerEpoch, strconv.FormatInt(p.epoch, 10))
		case skewed:
			return false, refuse(http.StatusBadRequest, job.CodeInvalidStream, "a new epoch begins with Producer-Seq 0")
		case gap:
			if t.closed.Load() {
				return false, errClosed(t.name)
			}
			return false, refuse(http.StatusConflict, codeSequenceGap, "Producer-Seq %d comes next", p.expected()).
				with(producerExpected, strconv.FormatInt(p.expected(), 10)).
				with(producerReceived, strconv.FormatInt(c.seq, 10))
		}
	}
	switch {
	case t.closed.Load() && req.closes && req.body.empty() && req.claim == nil:
		return true, nil
	case t.closed.Load():
		return false, errClosed(t.name)
	case req.seq != nil && t.seq != nil && *req.seq <= *t.seq:
		return false, refuse(http.StatusConflict, codeSequenceConflict, "the last Stream-Seq was not below this one")
	}
	return false, nil
}

func errClosed(name string) error {
	return refuse(http.StatusConflict, codeStreamClosed, "the stream %s is closed", name)
}

// knows makes sure that the stream has a place for a producer. It returns false if the run has no more of them.
func (t *written) knows(id string) bool {
	if t.producers[id] != nil {
		return true
	}
	t.side.mu.Lock()
	defer t.side.mu.Unlock()
	if t.side.producers == maxProducers {
		return false
	}
	t.side.producers++
	t.producers[id] = &producer{last: -1}
	return true
}

func producerHead(h http.Header, epoch, last int64) {
	h.Set(producerEpoch, strconv.FormatInt(epoch, 10))
	h.Set(producerSeq, strconv.FormatInt(last, 10))
}
