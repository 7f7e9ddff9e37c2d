-- The boards that are measured: 2,000 accounts, 10,000 boards, 500,000 nodes and 600,000 links, the same on every machine.
--
-- Nothing is random: what varies is taken from hashes of names. Ids are version 7 UUIDs of the moments that the rows are said
-- to have been made at, and rows are written in that order, so that a board lies scattered in its tables as it would after
-- months of use. All triggers and constraints are at work. The schema `bench` says which boards, folders and nodes are asked
-- for; its last table is there when the load is complete. Run in one transaction, with the variable `digest`.

SET LOCAL client_min_messages = warning;
SET LOCAL work_mem = '256MB';

-- A number from 0 to `choices` - 1 that depends on nothing but `name`.
CREATE FUNCTION pg_temp.pick(name text, choices integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
AS $$ SELECT ((hashtextextended(name, 0) & 9223372036854775807) % choices)::integer $$;

CREATE FUNCTION pg_temp.pick_from(name text, choices text[]) RETURNS text
    LANGUAGE sql IMMUTABLE
AS $$ SELECT choices[1 + pg_temp.pick(name, cardinality(choices))] $$;

CREATE FUNCTION pg_temp.id_of(name text, moment timestamptz) RETURNS uuid
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(name), 1, 3) || '8' || substr(md5(name), 4, 15))::uuid
$$;

-- Accounts. The first one owns all boards that are asked for.
CREATE TEMPORARY TABLE account ON COMMIT DROP AS
SELECT number, pg_temp.id_of('user ' || number, created_at) AS id, created_at,
       CASE number WHEN 1 THEN 'bench' ELSE 'user' || number END AS local_part,
       pg_temp.pick_from('first name ' || number, '{Ada,Ben,Chloe,David,Emma,Farid,Grace,Hugo,Ines,Jonas,Kira,Liam,Mia,Noor}')
           || ' ' || pg_temp.pick_from('last name ' || number,
               '{Adler,Brandt,Costa,Dubois,Evans,Fischer,Garcia,Hansen,Ivanova,Jensen,Kim,Lopez,Meyer,Novak}') AS name
FROM generate_series(1, 2000) AS number
CROSS JOIN LATERAL (SELECT timestamptz '2024-06-01Z' + number * interval '2 hours' AS created_at) AS made;
CREATE UNIQUE INDEX ON account (number);

INSERT INTO users (id, email, password_hash, name, email_verified, created_at, updated_at)
SELECT id, local_part || '@ragboard.example', 'none', name, true, created_at, created_at FROM account;

-- Boards: 1 to 25 are asked for as a page, 26 to 37 hold the nested folders, the others are there to be in the way. The
-- nodes that the first 37 leave over are spread by weight: most other boards have 25 to 50, some up to 100.
CREATE TEMPORARY TABLE plan ON COMMIT DROP AS
WITH weighed AS (
    SELECT number, CASE WHEN number > 37 THEN 26 + 74 * (pg_temp.pick('size ' || number, 1000) / 1000.0) ^ 4 END AS weight
    FROM generate_series(1, 10000) AS number
), shares AS (
    SELECT number, sum(weight) OVER (ORDER BY number) / sum(weight) OVER () AS upto, weight / sum(weight) OVER () AS share
    FROM weighed
), sized AS (
    SELECT number,
           CASE WHEN number <= 25 THEN 100
                WHEN number <= 37 THEN 1 + 20 + 400 + 8000
                ELSE floor(upto * 396448) - floor((upto - share) * 396448) END::integer AS nodes,
           CASE WHEN number <= 25 THEN 150
                WHEN number <= 37 THEN 0
                ELSE floor(upto * 596250) - floor((upto - share) * 596250) END::integer AS links
    FROM shares
)
SELECT s.number, pg_temp.id_of('board ' || s.number, m.created_at) AS id, a.id AS owner_id, s.nodes, s.links, m.created_at,
       s.number BETWEEN 26 AND 37 AS is_tree,
       pg_temp.pick_from('board subject ' || s.number,
           '{Customer interviews,Market research,Product roadmap,Reading list,Release planning,Thesis,Travel,Onboarding}')
           || ' ' || s.number AS name
FROM sized s
CROSS JOIN LATERAL (
    SELECT timestamptz '2025-01-01Z' + pg_temp.pick('board made ' || s.number, 500 * 86400) * interval '1 second' AS created_at
) AS m
JOIN account a ON a.number = CASE WHEN s.number <= 37 THEN 1 ELSE 1 + pg_temp.pick('owner ' || s.number, 2000) END;
CREATE UNIQUE INDEX ON plan (number);

INSERT INTO boards (id, user_id, name, description, version, created_at, updated_at)
SELECT id, owner_id, name, 'What we know about ' || lower(name) || ', and what we still want to find out.',
       nodes + links + 1, created_at, created_at + interval '60 days'
FROM plan ORDER BY created_at, id;

-- Up to three people on every fifth board, and on all that are asked for.
INSERT INTO board_collaborators (id, board_id, user_id, role, invited_by, accepted_at, created_at)
SELECT pg_temp.id_of(p.number || ' collaborator ' || person, p.created_at), p.id, a.id,
       pg_temp.pick_from(p.number || ' role ' || person, '{view,comment,edit}')::share_permission,
       p.owner_id, p.created_at + interval '1 day', p.created_at
FROM plan p
CROSS JOIN generate_series(1, 3) AS person
JOIN account a ON a.number = 1 + (pg_temp.pick('invited ' || p.number, 1999) + person) % 2000
WHERE (p.number <= 37 OR pg_temp.pick('shared ' || p.number, 5) = 0) AND a.id <> p.owner_id;

-- Nodes, numbered on each board in the order of their making. On a tree, each folder has 20 folders in it, three levels down;
-- elsewhere one node in eight is a folder, one a chat, and seven of ten lie in a folder that was made before them.
CREATE TEMPORARY TABLE spot ON COMMIT DROP AS
SELECT p.number AS board_number, p.id AS board_id, n AS number, pg_temp.id_of(p.number || ' node ' || n, m.created_at) AS id,
       (CASE WHEN p.is_tree OR n % 8 = 1 THEN 'folder' WHEN n % 8 = 5 THEN 'chat' ELSE 'resource' END)::node_type AS type,
       CASE WHEN n = 1 THEN NULL
            WHEN p.is_tree THEN (n - 2) / 20 + 1
            WHEN pg_temp.pick(p.number || ' placed ' || n, 10) < 7
                THEN 1 + 8 * pg_temp.pick(p.number || ' parent ' || n, (n + 6) / 8) END AS parent_number,
       p.number || ' ' || n AS name, m.created_at
FROM plan p
CROSS JOIN LATERAL generate_series(1, p.nodes) AS n
CROSS JOIN LATERAL (SELECT p.created_at + n * (interval '50 days' / p.nodes) AS created_at) AS m;
CREATE UNIQUE INDEX ON spot (board_number, number);
ANALYZE spot;

INSERT INTO nodes (id, board_id, type, x, y, width, height, z_index, is_locked, version, created_at, updated_at)
SELECT id, board_id, type,
       number % 10 * 340 + pg_temp.pick('x ' || name, 40), number / 10 * 260 + pg_temp.pick('y ' || name, 40), 300, 200, number,
       pg_temp.pick('locked ' || name, 20) = 0, number + 1, created_at,
       created_at + pg_temp.pick('updated ' || name, 10 * 86400) * interval '1 second'
FROM spot ORDER BY created_at, id;

-- Paragraphs of 40 words, about 270 characters, that texts are put together from.
CREATE TEMPORARY TABLE paragraph ON COMMIT DROP AS
SELECT number, string_agg(
    CASE WHEN place % 10 = 1 THEN initcap(word) ELSE word END || CASE WHEN place % 10 = 0 THEN '.' ELSE '' END,
    ' ' ORDER BY place) AS text
FROM generate_series(1, 500) AS number
CROSS JOIN generate_series(1, 40) AS place
CROSS JOIN LATERAL pg_temp.pick_from('word ' || number || ' ' || place,
    '{account,after,answer,before,board,budget,change,chart,choice,cost,customer,data,decision,design,detail,early,effect,
      evidence,example,expect,feature,figure,first,folder,found,goal,growth,hardly,history,idea,improve,interview,issue,join,
      journey,known,later,lead,learn,level,market,measure,meeting,metric,model,month,need,never,notice,number,often,open,order,
      outcome,page,partner,pattern,people,plan,price,problem,product,project,question,quickly,reader,reason,report,research,
      result,review,rule,sample,search,segment,service,several,share,show,similar,source,stage,story,study,support,survey,
      table,task,team,test,the,theme,trend,under,use,value,version,view,week,while,with,work,write,year}') AS word
GROUP BY number;
CREATE UNIQUE INDEX ON paragraph (number);
ANALYZE paragraph;

-- Resources: seven of ten are texts written on the board, the others were read from elsewhere. Four to six paragraphs each.
INSERT INTO resource_nodes (node_id, board_id, resource_type, title, content, extracted_text, url, processing_status, language,
                            word_count, reading_time)
SELECT s.id, s.board_id, t.resource_type::resource_type,
       pg_temp.pick_from('what ' || s.name, '{Notes on,Interview about,Draft of,Report on,Summary of,Questions about,Ideas for}')
           || ' ' || pg_temp.pick_from('subject ' || s.name,
               '{pricing,onboarding,search,churn,the beta,accessibility,the new editor,imports,billing,mobile use,sharing}')
           || ', part ' || s.number,
       CASE WHEN t.resource_type = 'text' THEN t.text END,
       CASE WHEN t.resource_type <> 'text' THEN t.text END,
       CASE WHEN t.resource_type <> 'text' THEN 'https://www.example.org/library/' || replace(s.name, ' ', '/') END,
       'completed', 'en', t.paragraphs * 40, t.paragraphs * 40 * 60 / 200
FROM spot s
CROSS JOIN LATERAL (
    SELECT pg_temp.pick_from('kind ' || s.name, '{text,text,text,text,text,text,text,url,pdf,youtube}') AS resource_type,
           count(*) AS paragraphs, string_agg(p.text, E'\n\n' ORDER BY place) AS text
    FROM generate_series(1, 4 + pg_temp.pick('length ' || s.name, 3)) AS place
    JOIN paragraph p ON p.number = 1 + pg_temp.pick(s.name || ' paragraph ' || place, 500)
) AS t
WHERE s.type = 'resource' ORDER BY s.created_at, s.id;

INSERT INTO chat_nodes (node_id, board_id, ai_model, system_prompt, temperature)
SELECT id, board_id,
       pg_temp.pick_from('model ' || name, '{claude-3-opus,claude-3-sonnet,claude-3-haiku,gpt-4,gpt-4-turbo}')::ai_model,
       'You help a team to make sense of its material. Answer from what is linked to this chat, and name the sources.',
       pg_temp.pick('temperature ' || name, 11) / 10.0
FROM spot WHERE type = 'chat' ORDER BY created_at, id;

INSERT INTO folder_nodes (node_id, board_id, name, color)
SELECT id, board_id,
       pg_temp.pick_from('folder ' || name, '{Archive,Background,Contracts,Drafts,Evidence,Figures,Interviews,Sources,Topics}')
           || ' ' || number,
       pg_temp.pick_from('color ' || name, '{#6B7280,#2563EB,#059669,#D97706,#DC2626}')
FROM spot WHERE type = 'folder' ORDER BY created_at, id;

INSERT INTO node_hierarchy (child_id, board_id, parent_id, position, created_at)
SELECT s.id, s.board_id, parent.id, s.number * 1024, s.created_at
FROM spot s JOIN spot parent ON parent.board_number = s.board_number AND parent.number = s.parent_number
ORDER BY s.created_at, s.id;

-- Links: from each node in turn to one of the three after it, and in the second round to one of the three after those.
INSERT INTO connections (id, board_id, from_node_id, to_node_id, connection_type, label, created_at)
SELECT pg_temp.id_of(p.number || ' link ' || l, m.created_at), p.id, a.id, b.id,
       pg_temp.pick_from(p.number || ' kind ' || l, '{data_flow,data_flow,reference,reference,hierarchy}')::connection_type,
       pg_temp.pick_from(p.number || ' label ' || l, '{supports,contradicts,explains,NULL,NULL,NULL}'), m.created_at
FROM plan p
CROSS JOIN LATERAL generate_series(0, p.links - 1) AS l
CROSS JOIN LATERAL (SELECT p.created_at + interval '5 days' + l * (interval '50 days' / p.links) AS created_at) AS m
JOIN spot a ON a.board_number = p.number AND a.number = 1 + l % p.nodes
JOIN spot b ON b.board_number = p.number
    AND b.number = 1 + (l % p.nodes + 1 + l / p.nodes * 3 + pg_temp.pick(p.number || ' end ' || l, 3)) % p.nodes
ORDER BY m.created_at, 1;

-- What is asked for, numbered from 1.
CREATE SCHEMA bench;
CREATE TABLE bench.boards AS SELECT number, id AS board_id FROM plan WHERE number <= 25;
CREATE TABLE bench.folders AS SELECT board_number - 25 AS number, board_id, id AS node_id FROM spot
    WHERE board_number BETWEEN 26 AND 37 AND number = 1;
CREATE TABLE bench.nodes AS
    SELECT row_number() OVER (ORDER BY board_number, number)::integer AS number, board_id, id AS node_id
    FROM spot WHERE board_number <= 25 AND number % 5 = 0;
ALTER TABLE bench.boards ADD PRIMARY KEY (number);
ALTER TABLE bench.folders ADD PRIMARY KEY (number);
ALTER TABLE bench.nodes ADD PRIMARY KEY (number);

DO $$
BEGIN
    ASSERT (SELECT (count(*), sum(node_count), sum(connection_count)) = (10000::bigint, 500000::bigint, 600000::bigint)
            FROM board_stats), 'the numbers of boards, nodes and links are not those planned';
    ASSERT (SELECT sum(resource_count) BETWEEN 290000 AND 310000 AND sum(chat_count) BETWEEN 45000 AND 55000 FROM board_stats),
        'the kinds of nodes are not mixed as planned';
    ASSERT (SELECT avg(octet_length(coalesce(content, extracted_text))) BETWEEN 1000 AND 2000 FROM resource_nodes),
        'the texts of resources are too short or too long';
    ASSERT (SELECT count(*) = 25 FROM bench.boards JOIN board_stats USING (board_id)
            WHERE connection_count >= 100 AND resource_count >= 30 AND chat_count >= 5 AND folder_count >= 5),
        'a board that is asked for has too little on it';
    ASSERT (SELECT count(*) = 12 FROM bench.folders JOIN board_stats USING (board_id) WHERE folder_count = 8421),
        'a tree of folders is not whole';
    ASSERT (SELECT count(*) = 500 FROM bench.nodes), 'there are not as many nodes to ask for as planned';
END
$$;

CREATE TABLE bench.dataset AS SELECT :'digest' AS digest;
