//go:build long

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The image and the compose file, for real: three containers whose volumes
// outlive them, one recreated at a new address, a fourth that joins.
func TestCompose(t *testing.T) {
	t.Parallel() // beside the network that is cut
	c := newCompose(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.run("logs", "--tail", "30"))
		}
		c.run("down", "-v", "--remove-orphans")
		c.docker("rmi", "-f", "thunderdb")
	})
	c.run("build")
	c.checkImage()
	c.run("up", "-d", "thunder1", "thunder2", "thunder3")
	c.awaitAlive(3)
	for i := range composeKeys {
		if r := send(http.MethodPut, c.url(i%3, fmt.Sprint("key-", i)), fmt.Sprint("value-", i)); r.status != 201 {
			t.Errorf("put key %d: %+v", i, r)
		}
	}
	c.checkKeys()
	c.awaitHealthy("thunder1", "thunder2", "thunder3")

	// All of it goes away but the volumes.
	c.run("down")
	c.run("up", "-d", "thunder1", "thunder2", "thunder3")
	c.awaitAlive(3)
	c.checkKeys()

	// The fourth takes the address that thunder3 had, and thunder3 another.
	was := c.address("thunder3")
	c.run("rm", "-sf", "thunder3")
	fourth := c.run("run", "-d", "node")
	t.Cleanup(func() { c.docker("rm", "-f", fourth) })
	c.run("up", "-d", "thunder3")
	if now := c.address("thunder3"); now == was {
		t.Errorf("thunder3 is back at %s: another address was meant", now)
	}
	c.awaitAlive(4)
	c.checkKeys()
	for i := range 100 {
		key := fmt.Sprintf("later-%d", i)
		if r := send(http.MethodPut, c.url(i%3, key), key); r.status != 201 {
			t.Errorf("put %s: %+v", key, r)
		}
		if r := send(http.MethodGet, c.url((i+1)%3, key), ""); r.body != key {
			t.Errorf("get %s: %+v", key, r)
		}
	}
}

// composeKeys is how many keys are written at first.
const composeKeys = 30

// checkKeys reads them through each of the three.
func (c *compose) checkKeys() {
	c.t.Helper()
	for i := range composeKeys {
		for asked := range 3 {
			if r := send(http.MethodGet, c.url(asked, fmt.Sprint("key-", i)), ""); r.body != fmt.Sprint("value-", i) {
				c.t.Errorf("get key %d through thunder%d: %+v", i, asked+1, r)
			}
		}
	}
}

// compose runs docker-compose, v1 or v2, on the project's own file, but for the
// ports of this machine that it publishes: they may be in use.
type compose struct {
	t     *testing.T
	line  []string
	ports [3]string // of this machine, by node
}

func newCompose(t *testing.T) *compose {
	t.Helper()
	need(t, "docker")
	c := &compose{t: t, line: []string{"docker", "compose"}}
	if exec.Command("docker", "compose", "version").Run() != nil {
		need(t, "docker-compose")
		c.line = []string{"docker-compose"}
	}
	if out, err := exec.Command("docker", "info").CombinedOutput(); err != nil {
		lack(t, "docker does not run: %v: %s", err, out)
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker-compose.yml")
	write(t, file, c.publish(filepath.Join(root, "docker-compose.yml")))
	c.line = append(c.line, "-p", fmt.Sprintf("thunderdbtest%d", os.Getpid()), "--project-directory", root, "-f", file)
	if exec.Command("docker", "image", "inspect", "golang:1.26").Run() != nil {
		c.standIn()
	}
	return c
}

// publish returns the compose file with free ports in place of those that it
// publishes.
func (c *compose) publish(path string) string {
	c.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	out := string(text)
	for i := range c.ports {
		c.ports[i] = freePort(c.t)
		was := fmt.Sprintf(`"%d:8080"`, 8080+i)
		if !strings.Contains(out, was) {
			c.t.Fatalf("the compose file does not publish %s", was)
		}
		out = strings.Replace(out, was, fmt.Sprintf(`"%s:8080"`, c.ports[i]), 1)
	}
	return out
}

// standInLabel marks the stand-in, and the images of build stages that began
// with it.
const standInLabel = "thunderdb.standin=true"

// standIn makes an image that can stand for golang:1.26 where none can be
// fetched: a shell, this machine's Go, and the modules that it has.
func (c *compose) standIn() {
	c.t.Helper()
	need(c.t, "busybox", "tar")
	if out, err := exec.Command("go", "mod", "download").CombinedOutput(); err != nil {
		c.t.Fatalf("go mod download: %v: %s", err, out)
	}
	env := strings.Fields(c.output("go", "env", "GOROOT", "GOMODCACHE"))
	root := c.t.TempDir()
	c.output("mkdir", "-p", root+"/bin", root+"/tmp", root+"/etc/ssl/certs")
	c.output("cp", c.output("which", "busybox"), root+"/bin/busybox")
	c.output("cp", "/etc/ssl/certs/ca-certificates.crt", root+"/etc/ssl/certs/")
	for _, tool := range []string{"sh", "mkdir"} {
		c.output("ln", "-s", "busybox", root+"/bin/"+tool)
	}
	pack := exec.Command("tar", "-c",
		"--transform", "s,^"+env[0][1:]+",usr/local/go,", "--transform", "s,^"+env[1][1:]+"/cache/download,modules,",
		"-C", "/", env[0][1:], env[1][1:]+"/cache/download", "-C", root, ".")
	load := exec.Command("docker", "import",
		"-c", "ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOPROXY=file:///modules GOSUMDB=off GOFLAGS=-modcacherw",
		"-c", "LABEL "+standInLabel, "-", "golang:1.26")
	var err error
	if load.Stdin, err = pack.StdoutPipe(); err != nil {
		c.t.Fatal(err)
	}
	var complaints bytes.Buffer
	pack.Stderr, load.Stderr = &complaints, &complaints
	if err := pack.Start(); err != nil {
		c.t.Fatal(err)
	}
	if err := load.Run(); err != nil {
		c.t.Fatalf("docker import: %v: %s", err, complaints.Bytes())
	}
	if err := pack.Wait(); err != nil {
		c.t.Fatalf("tar: %v: %s", err, complaints.Bytes())
	}
	c.t.Cleanup(func() {
		c.docker("rmi", "-f", "golang:1.26")
		c.docker("image", "prune", "-f", "--filter", "label="+standInLabel) // what was built on it
	})
}

// output runs a program that must succeed and returns what it printed.
func (c *compose) output(line ...string) string {
	c.t.Helper()
	cmd := exec.Command(line[0], line[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%s: %v\n%s%s", strings.Join(line, " "), err, out.Bytes(), errs.Bytes())
	}
	return strings.TrimSpace(out.String())
}

func (c *compose) run(args ...string) string {
	c.t.Helper()
	return c.output(append(append([]string{}, c.line...), args...)...)
}

func (c *compose) docker(args ...string) string {
	c.t.Helper()
	return c.output(append([]string{"docker"}, args...)...)
}

// checkImage checks what the README says of the image.
func (c *compose) checkImage() {
	c.t.Helper()
	fields := strings.Fields(c.docker("image", "inspect", "-f", "{{.Size}} {{.Config.User}}", "thunderdb"))
	size, err := strconv.Atoi(fields[0])
	if err != nil || size >= 40<<20 {
		c.t.Errorf("the image has %s bytes, want less than 40 MB", fields[0])
	}
	if len(fields) < 2 || fields[1] == "root" || strings.HasPrefix(fields[1], "0") {
		c.t.Errorf("the image runs as %q", fields[1:])
	}
}

// url returns a key's address at thunder<i+1>.
func (c *compose) url(i int, key string) string {
	return c.base(i) + "/v1/kv/" + key
}

func (c *compose) base(i int) string { return "http://127.0.0.1:" + c.ports[i] }

func (c *compose) address(service string) string {
	c.t.Helper()
	return c.docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", c.run("ps", "-q", service))
}

// awaitAlive waits until each of the three sees so many members up in a
// settled ring.
func (c *compose) awaitAlive(members int) {
	c.t.Helper()
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, &node{t: c.t, name: fmt.Sprintf("thunder%d", i+1), base: c.base(i)})
	}
	awaitMembers(c.t, nodes, members)
}

// awaitHealthy waits until the health check says so.
func (c *compose) awaitHealthy(services ...string) {
	c.t.Helper()
	await(c.t, time.Minute, func() error {
		for _, service := range services {
			state := c.docker("inspect", "-f", "{{.State.Health.Status}}", c.run("ps", "-q", service))
			if state != "healthy" {
				return fmt.Errorf("%s is %s", service, state)
			}
		}
		return nil
	})
}
