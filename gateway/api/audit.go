package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// getAudit handles GET /v1/audit.
func (ws *workers) getAudit(w http.ResponseWriter, r *http.Request) {
	_, q, done, ok := ws.operator(w, r, "since", "limit", cursorParam)
	if !ok {
		return
	}
	defer done()
	req, err := auditRequest(q)
	if err != nil {
		ws.problem(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ws.cfg.ReadTimeout)
	defer cancel()
	listed, err := ws.cfg.Fleet.ListAudit(ctx, req)
	if err != nil {
		ws.problem(w, auditProblem(err))
		return
	}
	page := frame.Audit{Records: []frame.AuditEntry{}, Off: listed.Off}
	for _, l := range listed.Records {
		if e, ok := auditEntry(l); ok {
			page.Records = append(page.Records, e)
		} else {
			page.Unreadable++
		}
	}
	if listed.Next > 0 {
		page.NextCursor = deadID(listed.Next)
	}
	ws.answer(w, page)
}

func auditRequest(q url.Values) (req *trackerpb.ListAuditRequest, err error) {
	req = &trackerpb.ListAuditRequest{Limit: frame.DefaultAuditLimit}
	if req.Since, err = milliseconds(q, "since"); err != nil {
		return nil, err
	}
	v, present, err := single(q, "limit")
	if err != nil {
		return nil, err
	}
	if present {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 1 || n > frame.MaxAuditLimit {
			return nil, invalid("limit", "must be a number from 1 to %d", frame.MaxAuditLimit)
		}
		req.Limit = int32(n)
	}
	cursor, present, err := single(q, cursorParam)
	if err != nil {
		return nil, err
	}
	if present {
		before, ok := parseDeadID(cursor)
		if !ok || before == 0 {
			return nil, invalid(cursorParam, "is not one of this API")
		}
		req.Before = before
	}
	return req, nil
}

// maxAuditBytes bounds a record of the audit trail; gateways write none that is near it.
const maxAuditBytes = 64 << 10

// auditEntry returns a record of the topic as clients see it. ok is false if it is not an audit record: a program that
// may write to the topic can write anything.
func auditEntry(l *trackerpb.AuditRecord) (e frame.AuditEntry, ok bool) {
	if len(l.Value) > maxAuditBytes {
		return e, false
	}
	known, err := audit.Decode(l.Value)
	return frame.AuditEntry{ID: deadID(l.Offset), WrittenAt: unixTime(l.At), Record: known}, err == nil
}

func auditProblem(err error) error {
	switch connect.CodeOf(err) {
	case connect.CodePermissionDenied:
		return problem.Unavailable("Kafka does not permit trackers to read the audit trail: give them the permission to " +
			"read the topic audit")
	case connect.CodeUnimplemented:
		return problem.Unavailable("the trackers are of an earlier release")
	}
	return problem.OfTracker(err)
}
