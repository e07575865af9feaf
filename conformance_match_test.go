package ackwire

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// What the scripts of TestConformance say is compared here with what there is.

// wantError checks what a script says of an error.
func (r *confRun) wantError(err error, want map[string]any) {
	got := map[string]any{}
	if e, ok := errors.AsType[*Error](err); ok {
		got["code"], got["retryable"], got["retryAfter"] = string(e.Code), e.Retryable, e.RetryAfter
		got["jobId"], got["errors"] = e.JobID, float64(len(e.Errors))
	}
	if e, ok := errors.AsType[*CloseError](err); ok {
		got["closeCode"] = float64(e.Code)
	}
	if e, ok := errors.AsType[*IndeterminateError](err); ok {
		got["code"], got["key"], got["jobId"] = "indeterminate", e.Key, e.JobID
	}
	for name, value := range want {
		if !reflect.DeepEqual(got[name], value) {
			r.fatalf("the error is %v: %s is %v, want %v", err, name, got[name], value)
		}
	}
}

// matches compares a frame with a pattern.
func (r *confRun) matches(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok || len(members) != len(want) {
			return false
		}
		for name, value := range want {
			member, has := members[name]
			if !has || !r.matches(member, value) {
				return false
			}
		}
		return true
	case []any:
		elements, ok := got.([]any)
		return ok && slices.EqualFunc(elements, want, r.matches)
	case string:
		text, ok := got.(string)
		if !ok || !strings.HasPrefix(want, "$") || strings.HasPrefix(want, "$$") {
			return ok && text == strings.Replace(want, "$$", "$", 1)
		}
		if bound, known := r.bound[want]; known {
			return bound == text
		}
		r.bound[want] = text
		return true
	}
	return reflect.DeepEqual(got, want)
}

// filled is a frame with what its variables stand for.
func (r *confRun) filled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, value := range v {
			out[name] = r.filled(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = r.filled(v[i])
		}
		return out
	case string:
		if bound, known := r.bound[v]; known {
			return bound
		}
	}
	return v
}
