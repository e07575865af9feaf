package mskiam

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
)

// challenge returns what a client sends to a broker.
func challenge(t *testing.T, auth kafka.IAMCredentials, broker string) map[string]string {
	t.Helper()
	_, sent, err := aws.ManagedStreamingIAM(auth).Authenticate(context.Background(), broker)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(sent, &fields); err != nil {
		t.Fatal(err)
	}
	return fields
}

// emptyBody is the SHA-256 of nothing.
const emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// presign returns the parameters of a query that AWS's own signer has signed.
func presign(t *testing.T, c awssdk.Credentials, host, region, expires string, at time.Time) url.Values {
	t.Helper()
	query := url.Values{"Action": {"kafka-cluster:Connect"}, "X-Amz-Expires": {expires}}
	req, err := http.NewRequest(http.MethodGet, "https://"+host+"/?"+query.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), c, req, emptyBody, "kafka-cluster", region, at)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// TestTheSDKsSignatureIsAsPublished checks the signer with which franz-go's is compared against a vector that
// librdkafka's tests have for this mechanism. Its signature is valid for 900 seconds, franz-go's for 300.
func TestTheSDKsSignatureIsAsPublished(t *testing.T) {
	got := presign(t, awssdk.Credentials{AccessKeyID: "AWS_ACCESS_KEY_ID", SecretAccessKey: "AWS_SECRET_ACCESS_KEY"},
		"hostname", "us-east-1", "900", time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC))
	const want = "d3eeeddfb2c2b76162d583d7499c2364eb9a92b248218e31866659b18997ef44"
	if got.Get("X-Amz-Signature") != want {
		t.Errorf("%s, want %s", got.Get("X-Amz-Signature"), want)
	}
}

// TestTheSignatureIsTheSDKs compares the signature of franz-go's mechanism with the one of AWS's own signer, at several
// times, for hosts of several regions, with and without a session.
func TestTheSignatureIsTheSDKs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, c := range []struct{ host, region, key, secret, session string }{
			{"b-1.demo.abcdef.c2.kafka.us-east-1.amazonaws.com", "us-east-1", "AKIDEXAMPLE",
				"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""},
			{"boot-x.c1.kafka-serverless.eu-central-1.amazonaws.com", "eu-central-1", "ASIAEXAMPLE", "se cret/+=",
				"FwoGZXIvYXdzEBYaD+/=&%session token"},
			{"b-2.demo.kafka.cn-north-1.amazonaws.com.cn", "cn-north-1", "AKIDEXAMPLE", "secret", "t"},
		} {
			time.Sleep(37*time.Hour + time.Second)
			got := challenge(t, func(context.Context) (aws.Auth, error) {
				return aws.Auth{AccessKey: c.key, SecretKey: c.secret, SessionToken: c.session}, nil
			}, c.host+":9098")
			now := time.Now().UTC()
			query := presign(t, awssdk.Credentials{AccessKeyID: c.key, SecretAccessKey: c.secret, SessionToken: c.session},
				c.host, c.region, "300", now)
			want := map[string]string{"version": "2020_10_22", "host": c.host, "user-agent": got["user-agent"]}
			for name, values := range query {
				want[strings.ToLower(name)] = values[0]
			}
			for name, value := range want {
				if got[name] != value {
					t.Errorf("%s: %s is %q, the SDK's %q", c.host, name, got[name], value)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d fields, not %d: %v", c.host, len(got), len(want), got)
			}
		}
	})
}

// TestCredentials finds credentials in the environment, in a profile's file, and for a role.
func TestCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_REGION", "us-east-1")
	if _, err := credentials("")(t.Context()); err == nil || !strings.Contains(err.Error(), "kafka-sasl=aws-msk-iam") {
		t.Errorf("without any: %v", err)
	}
	const profile = "[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = s\n"
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := credentials("")(t.Context()); err != nil || got.AccessKey != "FILEKEY" {
		t.Errorf("of the file: %v, %v", got.AccessKey, err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	if got, err := credentials("")(t.Context()); err != nil || got.AccessKey != "ENVKEY" {
		t.Errorf("of the environment: %v, %v", got.AccessKey, err)
	}
	const role = "arn:aws:iam::123456789012:role/kafka"
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("RoleArn") != role || r.FormValue("RoleSessionName") != session {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>` +
			`<Credentials><AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>s</SecretAccessKey>` +
			`<SessionToken>token</SessionToken><Expiration>` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) +
			`</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`))
	}))
	defer sts.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
	got, err := credentials(role)(t.Context())
	if err != nil || got.AccessKey != "ROLEKEY" || got.SessionToken != "token" {
		t.Errorf("of the role: %v, %v", got.AccessKey, err)
	}
	_, err = credentials(role + "2")(t.Context())
	if err == nil || !strings.Contains(err.Error(), "kafka-iam-role "+role) {
		t.Errorf("of another role: %v", err)
	}
}

// TestItIsRegistered checks that a program with this package accepts the setting.
func TestItIsRegistered(t *testing.T) {
	cfg := kafka.Config{Brokers: []string{"b:9098"}, Security: kafka.Security{TLS: true, SASL: "aws-msk-iam"}}
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
