package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const (
	maxFilterChars = 128 // longest value of a filter
	maxFilters     = 100 // most values of a filter
	maxCursorChars = 512
)

// readQuery returns the query's parameters. A parameter that is not allowed is an error.
func readQuery(r *http.Request, allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, frame.NewProblem(code.InvalidFrame, "the query could not be read: "+err.Error())
	}
	return q, allowedOnly(q, allowed...)
}

// allowedOnly returns the error of the first parameter that is not allowed.
func allowedOnly(q url.Values, allowed ...string) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case slices.Contains(allowed, name):
		case len(allowed) == 0:
			return frame.NewProblem(code.InvalidFrame, fmt.Sprintf("%.64q is not a parameter here: none is taken", name))
		case len(allowed) == 1:
			return frame.NewProblem(code.InvalidFrame,
				fmt.Sprintf("%.64q is not a parameter here: %s is", name, allowed[0]))
		default:
			return frame.NewProblem(code.InvalidFrame, fmt.Sprintf("%.64q is not a parameter here: %s are", name,
				strings.Join(allowed, ", ")))
		}
	}
	return nil
}

// invalid returns the error of a parameter that is not valid.
func invalid(name, format string, args ...any) error {
	return frame.NewProblem(code.InvalidFrame, name+" "+fmt.Sprintf(format, args...))
}

// tenantParam names another tenant, for a client that may operate.
const tenantParam = "tenant"

// filterParameters are the parameters that select jobs, of lists and of bulk actions.
var filterParameters = []string{tenantParam, "state", "type", "lane", "subject", "mine", tagParam,
	"createdAfter", "createdBefore", "updatedAfter", "updatedBefore"}

var listParameters = append(slices.Clone(filterParameters), "limit", "cursor")

// tagParam names a tag that jobs must have, as key:value. It may be repeated.
const tagParam = "tag"

// tagsOf reads the tags that jobs must have, each once.
func tagsOf(q url.Values) (tags []*trackerpb.Tag, err error) {
	all := slices.Compact(slices.Sorted(slices.Values(q[tagParam])))
	if len(all) > job.MaxTagFilters {
		return nil, invalid(tagParam, "has more than %d values", job.MaxTagFilters)
	}
	for _, text := range all {
		key, value, err := job.ParseTag(text)
		if err != nil {
			return nil, invalid(tagParam, "%.80q: %s", text, err)
		}
		tags = append(tags, &trackerpb.Tag{Key: key, Value: value})
	}
	return tags, nil
}

// tenantOf returns the tenant that a list or count is of: the identity's own, unless it may operate and names another.
func tenantOf(q url.Values, id auth.Identity) (string, error) {
	v, present, err := single(q, tenantParam)
	switch {
	case err != nil:
		return "", err
	case !present:
		return id.Tenant, nil
	case !id.May(auth.Operate):
		return "", frame.NewProblem(code.Forbidden,
			fmt.Sprintf("the token does not permit to name a tenant: it needs %s", auth.Operate))
	case v == "" || len(v) > maxFilterChars:
		return "", invalid(tenantParam, "must have from 1 to %d bytes", maxFilterChars)
	}
	return v, nil
}

// listRequest reads the query of GET /v1/jobs.
func listRequest(r *http.Request, id auth.Identity) (*trackerpb.ListRequest, error) {
	q, err := readQuery(r, listParameters...)
	if err != nil {
		return nil, err
	}
	req, err := filtered(q, r.URL.RawQuery, id)
	if err != nil {
		return nil, err
	}
	if req.Limit, err = listLimit(q); err != nil {
		return nil, err
	}
	cursor, present, err := single(q, "cursor")
	if present && err == nil {
		req.After, err = decodeCursor(cursor, req)
	}
	return req, err
}

// filterRequest is listRequest for a filter alone.
func filterRequest(q url.Values, id auth.Identity) (*trackerpb.ListRequest, error) {
	if err := allowedOnly(q, filterParameters...); err != nil {
		return nil, err
	}
	return filtered(q, q.Encode(), id)
}

// filtered reads the parameters that select jobs.
func filtered(q url.Values, rawQuery string, id auth.Identity) (*trackerpb.ListRequest, error) {
	tenant, err := tenantOf(q, id)
	if err != nil {
		return nil, err
	}
	req := &trackerpb.ListRequest{Tenant: tenant, Scope: id.Scope(auth.Read).Proto()}
	for _, f := range []struct {
		name  string
		to    *[]string
		valid func(string) bool
		want  string
	}{
		{
			"state", &req.States, func(s string) bool { return job.State(s).Valid() },
			fmt.Sprintf("a state: %v are", job.States),
		},
		{"type", &req.Types, nil, ""},
		{"lane", &req.Lanes, topic.ValidLane, "the name of a lane"},
		{"subject", &req.Subjects, nil, ""},
	} {
		all := listed(q[f.name])
		if f.name == "subject" { // which may hold commas and blanks
			all = written(rawQuery, f.name)
		}
		if *f.to, err = several(all, f.name); err != nil {
			return nil, err
		}
		for _, v := range *f.to {
			if f.valid != nil && !f.valid(v) {
				return nil, invalid(f.name, "%.64q is not %s", v, f.want)
			}
		}
	}
	if req.Tags, err = tagsOf(q); err != nil {
		return nil, err
	}
	if err := onlyMine(q, id, req); err != nil {
		return nil, err
	}
	for _, t := range []struct {
		name string
		to   *int64
	}{
		{"createdAfter", &req.CreatedFrom}, {"createdBefore", &req.CreatedBefore},
		{"updatedAfter", &req.UpdatedFrom}, {"updatedBefore", &req.UpdatedBefore},
	} {
		if *t.to, err = milliseconds(q, t.name); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// listed returns the values of a parameter that may be repeated, and may have several names separated by commas.
func listed(values []string) (all []string) {
	for _, list := range values {
		for v := range strings.SplitSeq(list, ",") {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

// written returns the values of a parameter that may be repeated, and may have several values separated by commas. A
// comma within a value is escaped (%2C), as RFC 3986 §2.2 says of reserved characters.
func written(rawQuery, name string) []string {
	var values []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, list, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != name {
			continue
		}
		for v := range strings.SplitSeq(list, ",") {
			if v, err := url.QueryUnescape(v); err == nil { // readQuery has checked it
				values = append(values, v)
			}
		}
	}
	return values
}

// several returns a filter's values without duplicates.
func several(all []string, name string) ([]string, error) {
	for _, v := range all {
		switch {
		case v == "":
			return nil, invalid(name, "has an empty value")
		case len(v) > maxFilterChars:
			return nil, invalid(name, "has a value of more than %d bytes", maxFilterChars)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxFilters {
		return nil, invalid(name, "has more than %d values", maxFilters)
	}
	return all, nil
}

// single returns the value of a parameter that must not be repeated.
func single(q url.Values, name string) (_ string, present bool, err error) {
	values := q[name]
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", true, invalid(name, "is there %d times", len(values))
	}
	return values[0], true, nil
}

func onlyMine(q url.Values, id auth.Identity, req *trackerpb.ListRequest) error {
	v, present, err := single(q, "mine")
	switch {
	case err != nil:
		return err
	case !present || v == "false":
		return nil
	case v != "true":
		return invalid("mine", "must be true or false")
	case len(req.Subjects) > 0:
		return invalid("mine", "and subject exclude each other")
	}
	req.Subjects = []string{id.Subject} // without a token the subject is empty: the jobs of all clients without a token
	return nil
}

// milliseconds reads a time as Unix milliseconds, rounded up, since a job's times are in milliseconds.
func milliseconds(q url.Values, name string) (int64, error) {
	v, present, err := single(q, name)
	if err != nil || !present {
		return 0, err
	}
	// The plus sign of a time zone, if it was not escaped, arrives as a blank.
	t, err := job.ParseTime(strings.ReplaceAll(v, " ", "+"))
	if err != nil {
		return 0, invalid(name, "must be a time like 2026-01-31T12:00:00Z (RFC 3339)")
	}
	ms := t.Add(time.Millisecond - 1).UnixMilli()
	if ms <= 0 {
		return 0, invalid(name, "must be after 1970")
	}
	return ms, nil
}

func listLimit(q url.Values) (int32, error) {
	v, present, err := single(q, "limit")
	if err != nil {
		return 0, err
	}
	if !present {
		return frame.DefaultListLimit, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > frame.MaxListLimit {
		return 0, invalid("limit", "must be a number from 1 to %d", frame.MaxListLimit)
	}
	return int32(n), nil
}

const (
	cursorVersion = 1
	filterHash    = 8 // bytes
)

// encodeCursor encodes a place as a cursor: one version byte, a hash of the request's filters, the time as a varint and
// the ID. It needs no signature: with any cursor a client gets only jobs of its own tenant.
func encodeCursor(p *trackerpb.Place, req *trackerpb.ListRequest) string {
	b := append([]byte{cursorVersion}, hashFilters(req)...)
	b = binary.AppendVarint(b, p.Created)
	return base64.RawURLEncoding.EncodeToString(append(b, p.JobId...))
}

func decodeCursor(s string, req *trackerpb.ListRequest) (*trackerpb.Place, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) > maxCursorChars || len(b) < 1+filterHash || b[0] != cursorVersion ||
		strings.ContainsAny(s, "\r\n") {
		return nil, invalid("cursor", "is not one of this API")
	}
	created, n := binary.Varint(b[1+filterHash:])
	if n <= 0 {
		return nil, invalid("cursor", "is not one of this API")
	}
	if !bytes.Equal(b[1:1+filterHash], hashFilters(req)) {
		return nil, invalid("cursor", "is one of other filters, or of another tenant")
	}
	return &trackerpb.Place{Created: created, JobId: string(b[1+filterHash+n:])}, nil
}

// hashFilters hashes all parameters that must be the same for the next page.
func hashFilters(req *trackerpb.ListRequest) []byte {
	h := sha256.New()
	for _, list := range [][]string{{req.Tenant}, req.Subjects, req.States, req.Types, req.Lanes} {
		fmt.Fprintf(h, "%q\n", list)
	}
	for _, t := range req.Tags {
		fmt.Fprintf(h, "%q %q\n", t.Key, t.Value)
	}
	fmt.Fprintln(h, req.CreatedFrom, req.CreatedBefore, req.UpdatedFrom, req.UpdatedBefore)
	return h.Sum(nil)[:filterHash]
}
