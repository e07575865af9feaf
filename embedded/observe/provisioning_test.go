package observe

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// Where Grafana looks for what it is provisioned with.
const provisioned = "/etc/grafana/provisioning"

// dataSources and providers are the files that Grafana's documentation describes ("Provision
// Grafana", version 12), with the fields that we use. Grafana ignores what it does not know, so a
// typing error there would be silent; here it is refused.
type dataSources struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []struct {
		Name, UID, Type, Access, URL string
		IsDefault                    bool `yaml:"isDefault"`
		Editable                     bool
		JSONData                     struct {
			TimeInterval string `yaml:"timeInterval"`
			HTTPMethod   string `yaml:"httpMethod"`
		} `yaml:"jsonData"`
	}
}

type providers struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name, Folder, Type string
		AllowUIUpdates     bool `yaml:"allowUiUpdates"`
		Options            struct{ Path string }
	}
}

// provisioning reads all files of a kind, from where the compose file mounts them.
func provisioning[File any](t *testing.T, grafana Service, kind string) []File {
	t.Helper()
	dir, ok := grafana.Outside(provisioned + "/" + kind)
	if !ok {
		t.Fatalf("nothing is mounted at %s/%s", provisioned, kind)
	}
	var read []File
	for _, name := range files(t, filepath.Join(dir, "*")) {
		if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
			t.Errorf("%s: Grafana reads .yaml and .yml", name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f File
		if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		read = append(read, f)
	}
	return read
}

// compose reads the compose file.
func compose(t *testing.T) Compose {
	t.Helper()
	c, err := ReadCompose(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The data source leads to the compose file's Prometheus, at its scrape interval, and every
// data source that a dashboard names is either the variable, which offers it, or there.
func TestGrafanaIsGivenItsDataSource(t *testing.T) {
	c := compose(t)
	found := provisioning[dataSources](t, c.Services["grafana"], "datasources")
	if len(found) != 1 || len(found[0].Datasources) != 1 || found[0].APIVersion != 1 {
		t.Fatalf("%+v", found)
	}
	d := found[0].Datasources[0]
	if d.Name == "" || d.Type != "prometheus" || d.Access != "proxy" || !d.IsDefault || d.Editable {
		t.Errorf("%+v", d)
	}
	// uids: letters, digits, - and _, at most 40 of them.
	if !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`).MatchString(d.UID) {
		t.Errorf("uid %q", d.UID)
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	prometheus, ok := c.Services[u.Hostname()]
	if !ok || u.Scheme != "http" || !slices.ContainsFunc(prometheus.Ports, func(p string) bool {
		return strings.HasSuffix(p, ":"+u.Port())
	}) {
		t.Errorf("%s is no service of the compose file, with ports %v", d.URL, prometheus.Ports)
	}
	var scrape struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
	}
	b, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/prometheus.yml"))
	if err != nil || yaml.Unmarshal(b, &scrape) != nil {
		t.Fatal(err)
	}
	if d.JSONData.TimeInterval != scrape.Global.ScrapeInterval {
		t.Errorf("timeInterval %s, and it is scraped every %s", d.JSONData.TimeInterval, scrape.Global.ScrapeInterval)
	}
	for _, name := range files(t, "deploy/grafana/dashboards/*.json") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard any
		if err := json.Unmarshal(b, &dashboard); err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		sources(dashboard, named)
		for uid := range named {
			if uid != "${datasource}" && uid != d.UID {
				t.Errorf("%s: there is no data source %s", name, uid)
			}
		}
		if len(named) == 0 {
			t.Errorf("%s names no data source", name)
		}
	}
	dashboards, err := Read(filepath.Join(root, "deploy/grafana/dashboards"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range dashboards {
		if i := slices.IndexFunc(b.Templating.List, func(v Variable) bool {
			return v.Name == "datasource"
		}); i < 0 || b.Templating.List[i].Type != "datasource" || b.Templating.List[i].Query != d.Type {
			t.Errorf("%s: no variable offers data sources of type %s: %+v", name, d.Type, b.Templating.List)
		}
	}
}

// sources collects the uids of all data sources that are named anywhere in a dashboard.
func sources(in any, uids map[string]bool) {
	switch in := in.(type) {
	case map[string]any:
		if d, ok := in["datasource"].(map[string]any); ok {
			uid, _ := d["uid"].(string)
			uids[uid] = true
		}
		for _, v := range in {
			sources(v, uids)
		}
	case []any:
		for _, v := range in {
			sources(v, uids)
		}
	}
}

// Dashboards lie where Grafana is told to look for them; the home dashboard is one of them.
func TestGrafanaFindsItsDashboards(t *testing.T) {
	grafana := compose(t).Services["grafana"]
	found := provisioning[providers](t, grafana, "dashboards")
	if len(found) != 1 || len(found[0].Providers) != 1 || found[0].APIVersion != 1 {
		t.Fatalf("%+v", found)
	}
	p := found[0].Providers[0]
	if p.Name == "" || p.Type != "file" || p.AllowUIUpdates {
		t.Errorf("%+v", p)
	}
	if dir, ok := grafana.Outside(p.Options.Path); !ok || filepath.Clean(dir) != "deploy/grafana/dashboards" {
		t.Errorf("%s is %s", p.Options.Path, dir)
	}
	home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	outside, _ := grafana.Outside(home)
	if _, err := os.Stat(filepath.Join(root, outside)); err != nil || filepath.Ext(home) != ".json" {
		t.Errorf("home dashboard %s: %v", home, err)
	}
}

// Every file and folder of this machine that the compose file mounts is there: Docker would make
// an empty folder of it.
func TestWhatIsMountedIsThere(t *testing.T) {
	for name, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if source, _, _ := strings.Cut(v, ":"); strings.HasPrefix(source, ".") {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestOutside(t *testing.T) {
	s := Service{Volumes: []string{"data:/var/lib/x", "./a:/var/lib/x/a:ro", "./f.cfg:/etc/f.cfg:ro"}}
	for _, row := range []struct {
		inside, want string
		ok           bool
	}{
		{"/var/lib/x/a/b.json", "./a/b.json", true},
		{"/var/lib/x/a", "./a", true},
		{"/var/lib/x/ab", "data/ab", false},
		{"/etc/f.cfg", "./f.cfg", true},
		{"/etc", "", false},
	} {
		if got, ok := s.Outside(row.inside); got != row.want || ok != row.ok {
			t.Errorf("%s is %q, %t, want %q, %t", row.inside, got, ok, row.want, row.ok)
		}
	}
}

// The collector that is built where none can be pulled is of the release that would be.
func TestTheCollectorIsOfOneRelease(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "deploy/otel/collector/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	built := regexp.MustCompile(`go\.opentelemetry\.io/collector/otelcol v(\S+)`).FindSubmatch(b)
	named := regexp.MustCompile(`:([0-9.]+)\}$`).FindStringSubmatch(compose(t).Services["otel"].Image)
	if built == nil || named == nil || string(built[1]) != named[1] {
		t.Errorf("the compose file has %q, deploy/otel/collector %q", named, built)
	}
}
