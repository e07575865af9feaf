package service

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"http://bob:hunter2@example.com:8080/a?b=c", "http://xxxxx@example.com:8080/a?b=c"},
		{"http://hunter2@example.com", "http://xxxxx@example.com"},
		{`Post "https://bob:hunter2@example.com/x": refused`, `Post "https://xxxxx@example.com/x": refused`},
		{`parse "http://bob:hun/ter2@example.com": no`, `parse "http://xxxxx@example.com": no`},
		{"http://bob:hun@ter2@example.com", "http://xxxxx@example.com"},
		{"s3://b?region=a&secretKey=hunter2&x=1", "s3://b?region=a&secretKey=xxxxx&x=1"},
		{"https://h/p?X-Amz-Signature=hunter2#f", "https://h/p?X-Amz-Signature=xxxxx#f"},
		{"ws://h/v1/ws?ticket=hunter2", "ws://h/v1/ws?ticket=xxxxx"},
		{"T=http://a:hunter2@h,U=https://b:hunter2@h", "T=http://xxxxx@h"}, // too much rather than too little
		{"two http://a:hunter2@h and redis://:hunter2@i", "two http://xxxxx@h and redis://xxxxx@i"},
		{"http://example.com/a?page=2", "http://example.com/a?page=2"},
		{"mail bob@example.com key=1", "mail bob@example.com key=1"},
		{"", ""},
	} {
		if got := Redact(c.text); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// FuzzRedact: whatever stands around it, a password that a URL can carry is never left.
func FuzzRedact(f *testing.F) {
	f.Add("bob", "example.com", "see ")
	f.Add("a:b@c", "h/?token=x", "\x00\"")
	f.Fuzz(func(t *testing.T, user, host, before string) {
		if strings.ContainsAny(user, "\"'<>") || strings.ContainsAny(user, " \t\r\n\v\f") ||
			strings.Contains(before+user+host, "hunter2") {
			t.Skip() // no URL holds these; or the test's own word is elsewhere
		}
		if got := Redact(before + "http://" + user + ":hunter2@" + host); strings.Contains(got, "hunter2") {
			t.Errorf("%q", got)
		}
	})
}

func TestErrorsShowNoPassword(t *testing.T) {
	for _, raw := range []string{"http://bob:hunter2@exa mple.com", "ftp://bob:hunter2@h", "http://bob:hunter2@h:port",
		"http://bob:hunter2/x@h", "http://:hunter2@"} {
		if _, err := HTTPURL(raw); err == nil || strings.Contains(err.Error(), "hunter2") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	old := os.Args
	defer func() { os.Args = old }()
	os.Args = []string{"thing", "--type=T=http://bob:hunter2@h", "--x"}
	answer := httptest.NewRecorder()
	commandLine(answer, nil)
	if got := answer.Body.String(); got != "thing\x00--type=T=http://xxxxx@h\x00--x" {
		t.Errorf("%q", got)
	}
}
