package wire

import (
	"strings"
	"testing"
	"time"
)

func TestTimesAndIDsOfEitherCase(t *testing.T) {
	want := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, at := range []string{"2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31t13:00:00+01:00"} {
		r, err := DecodeSubmit([]byte(`{"job":"a","payload":1,"runAt":"` + at + `"}`))
		if err != nil || r.RunAt == nil || !r.RunAt.Equal(want) {
			t.Errorf("%s: %v, %v", at, r.RunAt, err)
		}
	}
	for _, bad := range []string{`"soon"`, `1`, `{}`, `""`, `"2026-01-31"`} {
		if _, err := DecodeSubmit([]byte(`{"job":"a","payload":1,"runAt":` + bad + `}`)); err == nil ||
			!strings.Contains(err.Error(), "runAt") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if r, err := DecodeSubmit([]byte(`{"job":"a","payload":1,"runAt":null}`)); err != nil || r.RunAt != nil {
		t.Errorf("null: %v, %v", r.RunAt, err)
	}

	const id = "01a208fd-2dc6-7467-acd5-bb987da2c71e"
	refs, err := DecodeRefs("jobs", []byte(`[{"jobId":"`+strings.ToUpper(id)+`","after":3},{"jobId":"NONE"}]`))
	if err != nil || refs[0].JobID != id || refs[1].JobID != "NONE" {
		t.Errorf("%v, %v", refs, err)
	}
	ids, err := DecodeIDs([]byte(`["` + strings.ToUpper(id) + `","NONE"]`))
	if err != nil || ids[0] != id || ids[1] != "NONE" {
		t.Errorf("%v, %v", ids, err)
	}
}
