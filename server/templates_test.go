package server_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tasker-systems/taskerpy/template"
)

// shopTemplates are sorted as an engine gives them.
func shopTemplates(t *testing.T) []*template.Template {
	t.Helper()
	return []*template.Template{
		parseTemplate(t, `{name: invoice, namespace_name: billing, version: 1.0.0, steps: [{name: write, handler: {callable: Write}}]}`),
		parseTemplate(t, `
name: order_intake
namespace_name: shop
version: 1.2.0
description: Takes an order
steps:
  - name: check_order
    description: Looks at it
    handler: {callable: shop.CheckOrder}
    retry: {max_attempts: 4}
    result_schema: {type: object}
  - name: close_order
    dependencies: [check_order]
    handler: {callable: shop.CloseOrder}
`),
		parseTemplate(t, `{name: order_intake, namespace_name: shop, version: 2.0.0, steps: [{name: check_order, handler: {callable: Check}}]}`),
	}
}

func TestTheTemplatesOfOneNamespaceAreListedWithTheCountOfAll(t *testing.T) {
	golden(t, "templates.json", ask(t, &fake{templates: shopTemplates(t)}, http.MethodGet, "/v1/templates?namespace=shop", ""))
}

func TestAllTemplatesAreListed(t *testing.T) {
	rec := ask(t, &fake{templates: shopTemplates(t)}, http.MethodGet, "/v1/templates", "")
	require.Contains(t, rec.Body.String(), `"name":"invoice"`)
	require.Contains(t, rec.Body.String(), `"version":"2.0.0"`)
}

func TestWithoutTemplatesTheListsAreEmpty(t *testing.T) {
	rec := ask(t, &fake{}, http.MethodGet, "/v1/templates", "")
	require.JSONEq(t, `{"namespaces": [], "templates": [], "total_count": 0}`, rec.Body.String())
}

func TestATemplateIsShownAsTheSpecSays(t *testing.T) {
	golden(t, "template.json", ask(t, &fake{templates: shopTemplates(t)}, http.MethodGet, "/v1/templates/shop/order_intake/1.2.0", ""))
}

func TestTheWholeTemplateIsShownWhenAskedFor(t *testing.T) {
	e := &fake{templates: shopTemplates(t)}
	rec := ask(t, e, http.MethodGet, "/v1/templates/shop/order_intake/1.2.0?configuration=true", "")
	var detail struct{ Configuration json.RawMessage }
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &detail))
	require.Equal(t, string(e.templates[1].JSON()), string(detail.Configuration))
	rec = ask(t, e, http.MethodGet, "/v1/templates/shop/order_intake/1.2.0?configuration=perhaps", "")
	require.Equal(t, http.StatusBadRequest, rec.Code)
}

func TestATemplateWithASlashInItsNameIsFound(t *testing.T) {
	e := &fake{templates: []*template.Template{
		parseTemplate(t, `{name: "a/b ü", namespace_name: shop, version: 1.0.0, steps: [{name: s, handler: {callable: S}}]}`),
	}}
	rec := ask(t, e, http.MethodGet, "/v1/templates/shop/a%2Fb%20%C3%BC/1.0.0", "")
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	require.Contains(t, rec.Body.String(), `"name":"a/b ü"`)
}
