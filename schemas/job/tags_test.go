package job_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

func manyTags(n int) job.Tags {
	tags := job.Tags{}
	for i := range n {
		tags[fmt.Sprint("k", i)] = "v"
	}
	return tags
}

func TestTagsValidate(t *testing.T) {
	long := strings.Repeat("ä", job.MaxTagValue)
	for name, tc := range map[string]struct {
		tags  job.Tags
		wrong string // a part of the error; empty for none
	}{
		"none":                  {nil, ""},
		"empty":                 {job.Tags{}, ""},
		"all kinds of keys":     {job.Tags{"Aa.0_-": "c-17", strings.Repeat("k", job.MaxTagKey): "v"}, ""},
		"values":                {job.Tags{"a": "a:b,c=d \"'\\<", "b": "żółć 😀", "c": long, "d": " "}, ""},
		"most":                  {manyTags(job.MaxTags), ""},
		"too many":              {manyTags(job.MaxTags + 1), "at most 16 tags, not 17"},
		"empty key":             {job.Tags{"": "v"}, `the key ""`},
		"long key":              {job.Tags{strings.Repeat("k", job.MaxTagKey+1): "v"}, "1 to 64"},
		"colon in the key":      {job.Tags{"a:b": "v"}, `the key "a:b"`},
		"letter outside ASCII":  {job.Tags{"ä": "v"}, "1 to 64"},
		"empty value":           {job.Tags{"a": ""}, "the value of a is empty"},
		"long value":            {job.Tags{"a": long + "x"}, "more than 128 characters"},
		"value not UTF-8":       {job.Tags{"a": "\xff"}, "not UTF-8"},
		"line feed":             {job.Tags{"a": "x\ny"}, "control character"},
		"zero":                  {job.Tags{"a": "\x00"}, "control character"},
		"delete":                {job.Tags{"a": "\x7f"}, "control character"},
		"second control set":    {job.Tags{"a": "\u0085"}, "control character"},
		"the first of several":  {job.Tags{"b": "", "a": "", "c": ""}, "the value of a is empty"},
		"a terminal's sequence": {job.Tags{"a": "\x1b[31m"}, "control character"},
	} {
		err := tc.tags.Validate()
		if (err != nil) != (tc.wrong != "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%s: %v, want %q", name, err, tc.wrong)
		}
	}
}

func TestParseTag(t *testing.T) {
	for text, want := range map[string][2]string{
		"customer:c-17": {"customer", "c-17"}, "a:b:c": {"a", "b:c"}, "a: ": {"a", " "}, "a:b,c": {"a", "b,c"},
	} {
		if key, value, err := job.ParseTag(text); err != nil || [2]string{key, value} != want {
			t.Errorf("%q is %q and %q: %v", text, key, value, err)
		}
	}
	for _, text := range []string{"", ":", "a", "a:", ":b", "ä:b", "a b:c", "a:\n"} {
		if _, _, err := job.ParseTag(text); err == nil {
			t.Errorf("%q is taken for a tag", text)
		}
	}
}

func TestWithoutSubject(t *testing.T) {
	d := job.Document{JobID: "j", Type: "t", Result: json.RawMessage(`{"subject":"kept","a":[{"subject":1}]}`),
		Lane: "default", Subject: `al"ice\ subject`, Tags: job.Tags{"subject": "kept"}}
	full, err := job.EncodeDocument(&d)
	if err != nil {
		t.Fatal(err)
	}
	d.Subject = ""
	want, err := job.EncodeDocument(&d)
	if err != nil {
		t.Fatal(err)
	}
	before := string(full)
	if got := job.WithoutSubject(full); string(got) != string(want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	if string(full) != before {
		t.Error("the document itself has changed")
	}
	if got := job.WithoutSubject(want); &got[0] != &want[0] {
		t.Error("a document without a subject was copied")
	}
	for in, out := range map[string]string{
		`{"subject":"a"}`: `{}`, `{"subject":"a","b":1}`: `{"b":1}`, `{"b":1,"subject":"a"}`: `{"b":1}`,
		`{"a":1,"subject":{"x":[1]},"b":2}`: `{"a":1,"b":2}`, `{}`: `{}`,
		` {"subject" : "a", "b":1}`: `{"b":1}`, `{"\u0073ubject":"a","b":1}`: `{"b":1}`, `[]`: `{}`, `{"a":1`: `{}`,
	} {
		if got := job.WithoutSubject([]byte(in)); string(got) != out {
			t.Errorf("%s became %s, want %s", in, got, out)
		}
	}
}

// FuzzWithoutSubject compares with what encoding/json makes of the object without the member.
func FuzzWithoutSubject(f *testing.F) {
	for _, s := range []string{`{"jobId":"a","subject":"b","tags":{"subject":"c"}}`, `{"subject":1}`, `{}`, `{"a":[],"subject":{}}`,
		` { "subject" : null , "b" : "\ud83d\ude00" } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		got := job.WithoutSubject(b)
		if string(b) != before {
			t.Fatalf("%q became %q", before, b)
		}
		var members, left map[string]json.RawMessage
		if json.Unmarshal(b, &members) != nil {
			return
		}
		if err := json.Unmarshal(got, &left); err != nil {
			t.Fatalf("%q became %q: %v", b, got, err)
		}
		delete(members, "subject")
		want, err := plainjson.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		have, err := plainjson.Marshal(left)
		if err != nil {
			t.Fatal(err)
		}
		var a, z any
		_ = json.Unmarshal(want, &a)
		_ = json.Unmarshal(have, &z)
		if len(members) > 0 && !reflect.DeepEqual(a, z) {
			t.Fatalf("%q became %q, want %q", b, have, want)
		}
		if _, there := left["subject"]; there {
			t.Fatalf("%q became %q", b, got)
		}
	})
}
