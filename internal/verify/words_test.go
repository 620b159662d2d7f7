package verify

import (
	"strings"
	"testing"
)

// TestSecretsAreToldByNameAndShape, wherever in a name the word stands.
func TestSecretsAreToldByNameAndShape(t *testing.T) {
	for _, words := range [][]string{
		{"REDIS_PASSWORD=hunter2"}, {"AWS_SECRET_ACCESS_KEY=wJalrXUtn"}, {"API_TOKEN=abc"}, {"password=x"}, {"DB_PASS=x"}, {"MYSQL_PWD=x"}, {"REDISCLI_AUTH=x"},
		{"STRIPE_API_KEY=sk_live"}, {"SECRET_KEY_BASE=1f"}, {"VAULT_TOKEN=s.1"}, {"TOKEN=1"}, {"redisPassword=x"}, {"PASSWORD=12345"}, {"GITHUB_TOKENS=a,b"},
		{"REDIS_URL=redis://:abcdef@127.0.0.1:6379"}, {"DSN=postgres://u:p@h/db"}, {"X=amqps://a:b@c"},
		{"CONNECTION=Server=h;Uid=u;Password=p;"}, {`CONFIG={"user":"u","password":"p"}`}, {"URL=https://h/?access_token=abc"},
		{"KEY=-----BEGIN EC PRIVATE KEY-----\nMIG"}, {"SUDO_COMMAND=/usr/bin/redis-server --requirepass x"},
		{"redis-server", "--requirepass", "x"}, {"java", "-Dredis.password=x"}, {"app", "--api-token=x"}, {"app", "-token", "x"}, {"redis-server", "--masterauth", "x"},
	} {
		if name, found := secretIn(words, true); !found || strings.Contains(name, "hunter2") {
			t.Errorf("%q: %q %v", words, name, found)
		}
	}
	for _, words := range [][]string{
		{"PWD=/root"}, {"OLDPWD=/home/x"}, {"PATH=/usr/bin:/bin"}, {"SSH_AUTH_SOCK=/tmp/ssh-1/agent.2"}, {"XAUTHORITY=/root/.Xauthority"},
		{"CREDENTIALS_DIRECTORY=/run/credentials/redoubt-gateway.service"}, {"REDIS_PASSWORD="}, {"REDIS_PASSWORD_FILE=/run/secrets/p"}, {"TOKEN_TTL=3600"},
		{"PASSWORD_MIN_LENGTH=8"}, {"PASSWORD_REQUIRED=true"}, {"AUTH_MODE=mtls"}, {"KEY_PREFIX=app:"}, {"REDIS_URL=redis://127.0.0.1:6379"}, {"REDIS_URL=redis://user@h"},
		{"REDIS_URL=redis://:***@h"}, {"INVOCATION_ID=aa"}, {"NOTIFY_SOCKET=/run/systemd/notify"}, {"JOURNAL_STREAM=8:1"}, {"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/bus"},
		{"TOKENIZERS_PARALLELISM=false"}, {"AUTHOR=somebody"}, {"COMPASS=north"}, {"LS_COLORS=rs=0:di=01;34:pw=1"}, {"PASSWORD=$PASSWORD"},
		{"redoubt", "gateway", "--config", "/etc/redoubt/gateway.yaml"}, {"redoubt", "pki", "--passphrase-file", "/x"}, {"app", "--password-file", "secret"}, {"app", "--password", "--verbose"},
		{"redoubt", "join", "--token-file", "-"}, {"redis-server", "-"}, {"app", "--ask-password"},
		{"MAKEFLAGS= -j2 --jobserver-auth=fifo:/tmp/GMfifo7"}, {"MAKEFLAGS= -j2 --jobserver-auth=3,4 -- A=b"},
	} {
		if name, found := secretIn(words, true); found {
			t.Errorf("%q is taken for a secret: %q", words, name)
		}
	}
}

// FuzzSecretIn: whatever a process was started with, what is told of it is no value.
func FuzzSecretIn(f *testing.F) {
	for _, seed := range []string{"A_PASSWORD=b", "--requirepass x", "redis://:p@h", "a:b=c", "=", "://:@", "\xff_TOKEN=\xfe"} {
		f.Add(seed, "next")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if name, found := secretIn([]string{first, second}, true); found != (name != "") {
			t.Fatalf("%q %v", name, found)
		}
	})
}
