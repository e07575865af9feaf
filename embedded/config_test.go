package embedded

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/internal/serve"
)

// samples are values for settings without a default, by what docs/configure.md says that they look like.
var samples = map[string]string{
	"HOST:PORT": "127.0.0.1:1", "URL": "http://127.0.0.1:1", "FILE": "a.file", "DIR": "dir", "ID": "w1", "NAME": "HOME",
	"TENANT": "acme", "CIDR": "10.0.0.0/8", "WORD=PERMISSIONS": "operator=read+cancel",
	`TYPE=URL\|COMMAND`: "text.count=wc -c, really", "RACK": "rack-1", "HOST": "kafka.example", "MECHANISM": "plain",
	"SCOPE": "kafka", "NAME=VALUE": "logicalCluster=lkc-1", "ARN": "arn:aws:iam::123456789012:role/ackwire",
	"DURATION":           "7s",
	"KIND.SETTING=VALUE": "status.retention.ms=1209600000", "PREFIX": "before.", "ORIGIN": "https://app.example",
}

// commandOnly are settings of the command that are none of what it runs.
var commandOnly = map[string]bool{"health": true, "config": true, "version": true}

// TestEverySettingOfTheCommandCanBeGiven: a program can give each setting of docs/configure.md, or is told which option
// it is here.
func TestEverySettingOfTheCommandCanBeGiven(t *testing.T) {
	page, err := os.ReadFile("../docs/configure.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## ackwire\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (?:`(.*?)`|none; (.*?)|(off|none)) \\|").FindAllStringSubmatch(section, -1)
	if len(rows) < 80 || len(rows) != strings.Count(section, "\n| `") {
		t.Fatalf("%d settings are read of %d", len(rows), strings.Count(section, "\n| `"))
	}
	plain, err := Config{}.settings()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		name, value := row[1], row[2]
		if row[4] != "" {
			value = "true"
		}
		if row[3] != "" {
			value = samples[row[3]]
			if value == "" {
				t.Errorf("%s: there is no sample of %s", name, row[3])
			}
		}
		got, err := Config{Settings: []string{name + "=" + value}}.settings()
		switch {
		case commandOnly[name]:
			if err == nil {
				t.Errorf("%s is taken", name)
			}
		case optionOf[name] != "":
			if err == nil || !strings.Contains(err.Error(), "use "+optionOf[name]) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case row[2] == "" && reflect.DeepEqual(got, plain):
			t.Errorf("%s=%s changes nothing", name, value)
		}
	}
}

// TestSettingsAndFields: both come to the same, what only one of them says holds, and one thing is said once.
func TestSettingsAndFields(t *testing.T) {
	fields := Config{
		Data: "d", Listen: "127.0.0.1:1", OpsListen: "127.0.0.1:2", KafkaListen: "127.0.0.1:3", TrackerListen: "127.0.0.1:4",
		Brokers: []string{"a:9092", "b:9092"}, Sync: true, TopicPrefix: "x.", Partitions: 3, JobTypes: "types.yaml",
		NoProcessor: true,
	}
	written := []string{
		"data=d", "listen=127.0.0.1:1", "ops-listen=127.0.0.1:2", "kafka-listen=127.0.0.1:3", "tracker-listen=127.0.0.1:4",
		"kafka=a:9092", "kafka=b:9092", "kafka-sync=true", "topic-prefix=x.", "partitions=3", "job-types=types.yaml",
		"no-processor=true",
	}
	want, err := fields.settings()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Config{Settings: written}.settings()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\nby settings %+v\nby fields   %+v", err, got, want)
	}
	for _, setting := range written {
		name, _, _ := strings.Cut(setting, "=")
		c := fields
		c.Settings = []string{setting}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "setting "+name+" is given by a field") {
			t.Errorf("%s, and its field: %v", setting, err)
		}
	}
	s, err := Config{Settings: []string{
		"grace=90s", "jwks-url=https://id.example/keys", "permission-map=a=read+cancel",
	}}.settings()
	if err != nil || s.Worker.Grace != 90*time.Second || s.Gateway.Auth.JWKSURL != "https://id.example/keys" ||
		s.Gateway.Partitions != serve.DefaultSettings().Gateway.Partitions {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestTheEnvironmentIsNotRead: a program's server does not change with the variables of a command.
func TestTheEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("ACKWIRE_SLOTS", "3")
	t.Setenv("ACKWIRE_LISTEN", "nowhere")
	s, err := Config{Settings: []string{"tenant-jobs=7"}}.settings()
	if err != nil || s.Worker.Slots != 64 || s.Gateway.Listen != "127.0.0.1:8080" {
		t.Errorf("%d slots, %s, %v", s.Worker.Slots, s.Gateway.Listen, err)
	}
}
