package lists

import (
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of a filter, as of the parameters of GET /v1/jobs.
const (
	maxValues = 100 // of one field
	maxChars  = 128 // bytes of one value
)

func invalid(format string, args ...any) error {
	return frame.NewProblem(code.InvalidFrame, "filter: "+fmt.Sprintf(format, args...))
}

// Request returns what the trackers are asked for a filter and an identity, which may not see other jobs. The trackers
// compare by it what they compare for GET /v1/jobs, so a field of that request is a filter's by one line here.
func Request(f frame.ListFilter, id auth.Identity) (*trackerpb.ListRequest, error) {
	tenant := id.Tenant
	if f.Tenant != "" {
		tenant = f.Tenant
		if !id.May(auth.Operate) {
			return nil, frame.NewProblem(code.Forbidden,
				fmt.Sprintf("the token does not permit to name a tenant: it needs %s", auth.Operate))
		}
	}
	scope := id.ListScope(tenant)
	if scope == nil {
		return nil, frame.NewProblem(code.Forbidden, "a grant follows its jobs one by one")
	}
	r := &trackerpb.ListRequest{Tenant: tenant, Scope: scope.Proto()}
	for _, s := range f.States {
		r.States = append(r.States, string(s))
	}
	r.Types, r.Lanes, r.Subjects = f.Types, f.Lanes, f.Subjects
	if f.Mine {
		if len(f.Subjects) > 0 {
			return nil, invalid("mine and subjects exclude each other")
		}
		r.Subjects = []string{id.Subject}
	}
	for _, field := range []struct {
		name   string
		values *[]string
		valid  func(string) bool
	}{
		{"states", &r.States, func(s string) bool { return job.State(s).Valid() }},
		{"types", &r.Types, nil}, {"lanes", &r.Lanes, topic.ValidLane}, {"subjects", &r.Subjects, nil},
	} {
		var err error
		if *field.values, err = values(field.name, *field.values, field.valid, f.Mine); err != nil {
			return nil, err
		}
	}
	if len(f.Tenant) > maxChars {
		return nil, invalid("tenant must have from 1 to %d bytes", maxChars)
	}
	for _, t := range []struct {
		name string
		at   *time.Time
		to   *int64
	}{
		{"createdAfter", f.CreatedAfter, &r.CreatedFrom}, {"createdBefore", f.CreatedBefore, &r.CreatedBefore},
		{"updatedAfter", f.UpdatedAfter, &r.UpdatedFrom}, {"updatedBefore", f.UpdatedBefore, &r.UpdatedBefore},
	} {
		if t.at == nil {
			continue
		}
		*t.to = t.at.Add(time.Millisecond - 1).UnixMilli() // rounded up, since a job's times are in milliseconds
		if *t.to <= 0 {
			return nil, invalid("%s must be after 1970", t.name)
		}
	}
	return r, nil
}

// values checks the values of a field and returns them sorted, without duplicates, so that equal lists are one.
func values(name string, all []string, valid func(string) bool, mine bool) ([]string, error) {
	if len(all) > maxValues {
		return nil, invalid("%s has more than %d values", name, maxValues)
	}
	for _, v := range all {
		switch {
		case v == "" && !(mine && name == "subjects"): // the subject of clients without a token is empty
			return nil, invalid("%s has an empty value", name)
		case len(v) > maxChars:
			return nil, invalid("%s has a value of more than %d bytes", name, maxChars)
		case valid != nil && !valid(v):
			return nil, invalid("%.64q is not one of %s", v, name)
		}
	}
	all = slices.Sorted(slices.Values(all))
	return slices.Compact(all), nil
}
