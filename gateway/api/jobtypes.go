package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// typeRoutes is the route of the job types, which are encoded once: the file is read at the start only.
type typeRoutes struct {
	*door
	all []frame.JobType // by name
	err error           // of the encoding
}

func newTypeRoutes(d *door, types jobtypes.Set) *typeRoutes {
	t := &typeRoutes{door: d}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		one, err := encodeType(types[name])
		if err != nil {
			t.err = fmt.Errorf("encode job type %s: %w", name, err)
		}
		t.all = append(t.all, one)
	}
	return t
}

func encodeType(t *jobtypes.Type) (one frame.JobType, err error) {
	one = frame.JobType{Type: t.Name, Lane: t.Lane, Policy: t.Policy, MaxPayload: t.MaxPayload,
		StreamLimit: t.StreamLimit, StreamRate: t.StreamRate}
	if one.PayloadSchema, err = encodeSchema(t.PayloadSchema()); err != nil {
		return one, err
	}
	one.ResultSchema, err = encodeSchema(t.ResultSchema())
	return one, err
}

func encodeSchema(schema any) (json.RawMessage, error) {
	if schema == nil {
		return nil, nil
	}
	return plainjson.Marshal(schema)
}

// getJobTypes handles GET /v1/job-types. A client with a grant for some job types is told only those, and one with a
// grant for some jobs none.
func (t *typeRoutes) getJobTypes(w http.ResponseWriter, r *http.Request) {
	id, ok := t.identify(w, r, auth.Read)
	if !ok {
		return
	}
	if _, err := readQuery(r); err != nil {
		t.problem(w, err)
		return
	}
	if err := t.cfg.Limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		t.problem(w, err)
		return
	}
	if t.err != nil {
		t.problem(w, t.err)
		return
	}
	known := frame.JobTypes{JobTypes: []frame.JobType{}}
	for _, one := range t.all {
		if id.MayKnowType(one.Type) {
			known.JobTypes = append(known.JobTypes, one)
		}
	}
	b, err := plainjson.Marshal(known)
	if err != nil {
		t.problem(w, fmt.Errorf("encode job types: %w", err))
		return
	}
	sum := sha256.Sum256(b)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	if seen(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answerHead(w, len(b))
	_, _ = w.Write(b)
}
