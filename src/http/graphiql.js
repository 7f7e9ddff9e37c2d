// Starts GraphiQL on this page. The token is kept in memory only: it is typed into the headers editor, or handed over in
// the fragment of the address (#token=…), which never reaches a server and is removed at once.
"use strict";

const FIRST_QUERY = `# Welcome to RAGBOARD. Run this with Ctrl-Enter; the explorer on the left shows what else there is.
{
  viewer { name }
  boards(first: 10) {
    nodes {
      name
      stats { nodeCount linkCount }
      roots(first: 20) {
        nodes {
          __typename
          ... on FolderNode { name childCount }
          ... on ResourceNode { title wordCount }
        }
      }
    }
  }
}
`;

const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) history.replaceState(null, "", location.pathname + location.search);

const props = {
  // Beside this page, wherever a proxy has put both.
  fetcher: GraphiQL.createFetcher({ url: new URL("graphql", document.baseURI).href }),
  defaultQuery: FIRST_QUERY,
  defaultEditorToolsVisibility: "headers",
  shouldPersistHeaders: false,
};
if (token) props.headers = JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2);
if (typeof GraphiQLPluginExplorer !== "undefined") props.plugins = [GraphiQLPluginExplorer.explorerPlugin()];

ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, props));
