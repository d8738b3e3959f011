package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"
	"tailscale.com/types/logger"
)

const domain = "tail1234.ts.net"

// Control is the tailnet's control server: Tailscale's own test server, and in
// front of it what that one leaves out (approval pages, the Funnel feature
// query, the end of an expiry at the next sign-in).
type Control struct {
	server *testcontrol.Server
	url    string

	mu           sync.Mutex
	initial      Capabilities                    // of nodes that were given none of their own
	byName       map[string]Capabilities         // given to a node by its name; holds through a new key
	sent         map[key.NodePublic]Capabilities // what the server last sent to each key
	featureWaits bool                            // whether the feature query asks its client to wait
}

func startControl(relays *tailcfg.DERPMap, initial Capabilities) (*Control, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Control{
		url:          "http://" + listener.Addr().String(),
		initial:      initial,
		byName:       make(map[string]Capabilities),
		sent:         make(map[key.NodePublic]Capabilities),
		featureWaits: true,
	}
	c.server = &testcontrol.Server{
		Logf:                    logger.Discard,
		DERPMap:                 relays,
		MagicDNSDomain:          domain,
		DNSConfig:               &tailcfg.DNSConfig{Proxied: true, Domains: []string{domain}},
		ExplicitBaseURL:         c.url,
		AllNodesSameUser:        true,
		AllOnline:               true,
		DefaultNodeCapabilities: &tailcfg.NodeCapMap{},
		HoldMapRequest: func(request *tailcfg.MapRequest) func() {
			c.sendCapabilities(request.NodeKey)
			return nil
		},
	}
	if err := wrapRoutes(c.server, c.route); err != nil {
		return nil, err
	}
	go http.Serve(listener, c.server)
	return c, nil
}

// URL is where nodes sign in.
func (c *Control) URL() string { return c.url }

// RequireApproval makes every node that signs in from now on wait until its
// link was opened. The ingress, which signs in first, needs none.
func (c *Control) RequireApproval() { c.server.RequireAuth = true }

// RequireMachineApproval says whether nodes that sign in from now on wait for
// an administrator as well.
func (c *Control) RequireMachineApproval(required bool) { c.server.RequireMachineAuth = required }

// ApproveMachine lets in a node that waits for an administrator.
func (c *Control) ApproveMachine(name string) error {
	node := c.Node(name)
	if node == nil {
		return fmt.Errorf("there is no node %q", name)
	}
	if !c.server.CompleteDeviceApproval(c.url, c.url+"/admin", &node.Key) {
		return fmt.Errorf("the control server does not know the key of %q", name)
	}
	c.server.SetNodeCapMap(node.Key, c.capabilitiesOf(name).nodeCapabilities())
	return nil
}

// Approve signs in whoever waits on the link, and reports whether anyone did.
// Signing in again ends an expiry, as it does at the real control server.
func (c *Control) Approve(link string) bool {
	for _, node := range c.server.AllNodes() {
		if !node.KeyExpiry.IsZero() {
			node.KeyExpiry = time.Time{}
			c.server.UpdateNode(node)
		}
	}
	return c.server.CompleteAuth(link)
}

// Expire ends the validity of the node's key.
func (c *Control) Expire(name string) error {
	node := c.Node(name)
	if node == nil {
		return fmt.Errorf("there is no node %q", name)
	}
	node.KeyExpiry = time.Now().Add(-time.Minute)
	c.server.UpdateNode(node)
	return nil
}

// Grant gives capabilities to the node of that name, and to every new one where
// name is empty.
func (c *Control) Grant(name string, capabilities Capabilities) {
	c.mu.Lock()
	if name == "" {
		c.initial = capabilities
	} else {
		c.byName[name] = capabilities
	}
	c.mu.Unlock()
	for _, node := range c.server.AllNodes() {
		c.sendCapabilities(node.Key)
	}
}

// SetFeatureWaits says whether the answer to a feature query asks its client to
// wait for the person.
func (c *Control) SetFeatureWaits(waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.featureWaits = waits
}

// Node returns the newest node of that name, nil where there is none.
func (c *Control) Node(name string) *tailcfg.Node {
	var newest *tailcfg.Node
	for _, node := range c.server.AllNodes() {
		if nodeName(node) == name && (newest == nil || node.ID >= newest.ID) {
			newest = node
		}
	}
	return newest
}

// Nodes returns every node that ever signed in.
func (c *Control) Nodes() []*tailcfg.Node { return c.server.AllNodes() }

// nodeName is the first label of the node's DNS name.
func nodeName(node *tailcfg.Node) string {
	name, _, _ := strings.Cut(node.Name, ".")
	return name
}

func (c *Control) capabilitiesOf(name string) Capabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	if own, ok := c.byName[name]; ok {
		return own
	}
	return c.initial
}

// sendCapabilities brings what the server sends to a key in line with what its
// node was given. Capabilities belong to a key there, and each sign-in has a
// new one.
func (c *Control) sendCapabilities(nodeKey key.NodePublic) {
	node := c.server.Node(nodeKey)
	if node == nil {
		return
	}
	wanted := c.capabilitiesOf(nodeName(node))
	c.mu.Lock()
	sent, known := c.sent[nodeKey]
	c.sent[nodeKey] = wanted
	c.mu.Unlock()
	if !known || sent != wanted {
		c.server.SetNodeCapMap(nodeKey, wanted.nodeCapabilities())
	}
}

// route answers what the test server does not, and keeps from it every request
// that it would end the whole process over.
func (c *Control) route(server http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, known := range []string{
		"/generate_204", "/key", "/ts2021", "/c2n/", "/machine/map", "/machine/register",
		"/machine/set-dns", "/machine/update-health", "/machine/tka/", "/machine/webclient/",
	} {
		mux.Handle(known, server)
	}
	mux.HandleFunc("POST /machine/feature/query", c.serveFeatureQuery)
	mux.HandleFunc("GET /auth/{link}", c.serveSignIn)
	mux.HandleFunc("GET /f/{feature}", c.serveFeature)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("control: nothing answers %s %s", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	return mux
}

// serveSignIn is the page behind a sign-in link: opening it is the approval.
func (c *Control) serveSignIn(w http.ResponseWriter, r *http.Request) {
	if !c.Approve(r.URL.Path) {
		http.Error(w, "Nobody waits on this link.", http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, "Signed in. You can close this page.")
}

// serveFeature is the page behind an "allow Funnel" link: opening it allows.
func (c *Control) serveFeature(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("node")
	if c.Node(name) == nil {
		http.Error(w, "There is no such node.", http.StatusNotFound)
		return
	}
	c.Grant(name, CapabilitiesFull)
	fmt.Fprintln(w, "Allowed. You can close this page.")
}

func (c *Control) serveFeatureQuery(w http.ResponseWriter, r *http.Request) {
	var query tailcfg.QueryFeatureRequest
	if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	node := c.server.Node(query.NodeKey)
	if node == nil {
		http.Error(w, "unknown node key", http.StatusForbidden)
		return
	}
	name := nodeName(node)
	c.mu.Lock()
	waits := c.featureWaits
	c.mu.Unlock()
	answer := tailcfg.QueryFeatureResponse{
		Text:       "Funnel is not enabled on your tailnet.\nTo enable, visit:\n",
		URL:        fmt.Sprintf("%s/f/%s?node=%s", c.url, query.Feature, name),
		ShouldWait: waits,
	}
	if c.capabilitiesOf(name) == CapabilitiesFull {
		answer = tailcfg.QueryFeatureResponse{Complete: true}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

// wrapRoutes puts a handler around the test server's routes, also for requests
// inside the encrypted control protocol, which no handler in front can see.
//
// The server has no hook for this; its unexported field mux (testcontrol.go of
// tailscale.com v1.102.5) serves both kinds of request.
func wrapRoutes(server *testcontrol.Server, wrap func(http.Handler) http.Handler) error {
	// The first request builds the mux.
	server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/generate_204", nil))

	field := reflect.ValueOf(server).Elem().FieldByName("mux")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*http.ServeMux]() {
		return fmt.Errorf("testcontrol.Server has no field mux any more: look for what serves its requests now")
	}
	routes := (**http.ServeMux)(unsafe.Pointer(field.UnsafeAddr()))
	wrapped := http.NewServeMux()
	wrapped.Handle("/", wrap(*routes))
	*routes = wrapped
	return nil
}
