// The page has all numbers of its moment without this script. The script follows the stream
// of the server and replaces texts: the server writes them, so that there is one form of each
// number. What clients have sent is only ever set as text.
"use strict";

(() => {
	const root = document.documentElement;
	const find = (query, within = document) => within.querySelector(query);
	const all = (query, within = document) => within.querySelectorAll(query);
	root.classList.add("script");

	const setText = (element, text) => {
		if (element.textContent !== text) element.textContent = text;
	};

	// bind shows the fields of a value in an element.
	const bind = (element, value) => {
		for (const field of all("[data-f]", element)) {
			const text = value[field.dataset.f];
			if (text !== undefined) setText(field, text);
		}
		for (const bar of all("[data-w]", element)) {
			const percent = String(value[bar.dataset.w] ?? 0);
			if (bar.getAttribute("width") !== percent) bar.setAttribute("width", percent);
		}
		const tone = find("[data-tone]", element);
		if (tone && value.tone) tone.dataset.tone = value.tone;
	};

	// Pools, by name.

	const rows = new Map();
	const poolsBody = find("#pools");
	if (poolsBody) {
		for (const row of poolsBody.rows) rows.set(row.dataset.pool, row);
	}

	const filters = { pools: "", requests: "" };

	const filterRow = (row, filter) => {
		row.hidden = filter !== "" && !row.textContent.toLowerCase().includes(filter);
	};

	const showPool = (value) => {
		let row = rows.get(value.name);
		if (!row) {
			row = find("#pool-row").content.firstElementChild.cloneNode(true);
			row.dataset.pool = value.name;
			find("a", row).href = "?pool=" + encodeURIComponent(value.name);
			rows.set(value.name, row);
			poolsBody.append(row);
		}
		bind(row, value);
		filterRow(row, filters.pools);
	};

	// showNames removes pools that are gone, and puts new ones in their places.
	const showNames = (names) => {
		const living = new Set(names);
		for (const [name, row] of rows) {
			if (!living.has(name)) {
				row.remove();
				rows.delete(name);
			}
		}
		find('[data-empty="pools"]').hidden = names.length > 0;
		order = names;
	};

	let order = [];

	const arrange = () => {
		order.forEach((name, i) => {
			const row = rows.get(name);
			if (row && poolsBody.rows[i] !== row) poolsBody.insertBefore(row, poolsBody.rows[i] ?? null);
		});
		order = [];
	};

	// Tables whose cells are texts.

	const showRows = (body, lines, classOf, extra) => {
		while (body.rows.length > lines.length) body.lastElementChild.remove();
		lines.forEach((line, i) => {
			let row = body.rows[i];
			if (!row) {
				row = body.insertRow();
				line.forEach((_, j) => (row.insertCell().className = classOf(j)));
				if (extra) extra.make(row);
			}
			line.forEach((text, j) => setText(row.cells[j], text));
			if (extra) extra.show(row, line);
		});
	};

	const numbers = (j) => (j ? "n" : "");

	const cancelButton = {
		make: (row) => {
			const button = document.createElement("button");
			button.name = "action";
			button.textContent = "Cancel";
			row.insertCell().append(button);
		},
		show: (row, line) => (find("button", row).value = "cancel " + line[line.length - 1]),
	};

	const showList = (kind, list) => {
		const section = find(`[data-list="${kind}"]`);
		if (!section) return;
		setText(find("[data-title]", section), list.title);
		setText(find("[data-more]", section), list.more);
		const heads = all("th", section);
		const cancel = heads.length > 6 ? cancelButton : null;
		const body = find("tbody", section);
		showRows(body, list.rows, (j) => heads[j].className, cancel);
		for (const row of body.rows) filterRow(row, filters.requests);
	};

	const showUpstreams = (lines) => {
		showRows(find('[data-rows="upstreams"]'), lines, (j) => ["long", "", "n"][j]);
		find('[data-section="upstreams"]').hidden = lines.length === 0;
	};

	const showFacts = (kind, facts) => {
		const list = find(`[data-facts="${kind}"]`);
		while (list.children.length > facts.length) list.lastElementChild.remove();
		facts.forEach((fact, i) => {
			let line = list.children[i];
			if (!line) {
				line = document.createElement("div");
				line.append(document.createElement("dt"), document.createElement("dd"));
				list.append(line);
			}
			setText(line.children[0], fact.title);
			setText(line.children[1], fact.value);
		});
	};

	const showEnded = (kind, ended) => {
		const list = find(`[data-ended="${kind}"]`);
		while (list.children.length > ended.length) list.lastElementChild.remove();
		ended.forEach((value, i) => {
			let item = list.children[i];
			if (!item) {
				item = find("#ended-row").content.firstElementChild.cloneNode(true);
				list.append(item);
			}
			bind(item, value);
		});
		const empty = find(`[data-empty="${kind}"]`);
		if (empty) empty.hidden = ended.length > 0;
		const section = find(`[data-section="${kind}"]`);
		if (section) section.hidden = ended.length === 0;
	};

	// Tables of other plugins.

	const showTables = (tables) => {
		const list = find("#tables");
		while (list.children.length > tables.length) list.lastElementChild.remove();
		tables.forEach((table, i) => {
			if (!list.children[i]) list.append(find("#extra-table").content.firstElementChild.cloneNode(true));
			const section = list.children[i];
			setText(find("h2", section), table.title);
			find(".scroll", section).setAttribute("aria-label", table.title);
			const head = find("thead tr", section);
			if (head.children.length !== table.columns.length) {
				head.replaceChildren(
					...table.columns.map(() => {
						const cell = document.createElement("th");
						cell.scope = "col";
						return cell;
					}),
				);
				find("tbody", section).replaceChildren();
			}
			table.columns.forEach((text, j) => setText(head.children[j], text));
			showRows(find("tbody", section), table.rows, () => "");
		});
	};

	// Jobs.

	// act shows which actions a job allows.
	const act = (element, row) => {
		for (const button of all("[data-may]", element)) {
			button.hidden = !row[button.dataset.may];
			button.value = button.value.split(" ")[0] + " " + row.id;
		}
	};

	const showJob = (job) => {
		bind(find("[data-job]"), job.row);
		setText(find("#job-progress"), job.progress || "–");
		find("#job-percent").setAttribute("width", job.percent);
		act(document, job.row);
		showRows(find('[data-rows="attempts"]'), job.attempts, (j) => (j === 2 || j === 4 ? "" : "n"));
		showFacts("job", job.facts);
	};

	const showJobs = (page) => {
		const failed = find("#jobs-failed");
		setText(failed, page.failed);
		failed.hidden = page.failed === "";
		if (page.failed) return; // the numbers are the last ones
		if (!find("#jobs")) return location.reload(); // it was not there, or the store was not
		if (page.detail) return showJob(page.detail);
		const links = all(".states a");
		if (links.length !== page.states.length) return location.reload();
		page.states.forEach((state, i) => setText(find("[data-count]", links[i]), state.count));
		showRows(find('[data-rows="routes"]'), page.routes, (j) => (j > 0 && j < 7 ? "n" : ""));
		showFacts("store", page.facts);
		const body = find("#job-rows");
		while (body.rows.length > page.rows.length) body.lastElementChild.remove();
		page.rows.forEach((value, i) => {
			let row = body.rows[i];
			if (!row) {
				row = find("#job-row").content.firstElementChild.cloneNode(true);
				body.append(row);
			}
			find("a", row).href = "?job=" + value.id;
			bind(row, value);
			act(row, value);
		});
		find('[data-empty="jobs"]').hidden = page.rows.length > 0;
		const older = find("#older");
		older.hidden = page.older === "";
		if (page.older) older.href = page.older;
	};

	// Plots. Each has 240 x 56 units, whatever its size.

	const width = 240;
	const height = 56;
	const plots = {};
	let range = "fine";

	const shape = (kind, attributes) => {
		const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
		for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
		return element;
	};

	// areas returns paths between two lines, one for each stretch without a gap.
	const areas = (lower, upper, top) => {
		const x = (i) => ((i * width) / (upper.length - 1)).toFixed(1);
		const y = (v) => (height - 1 - (v / top) * (height - 4)).toFixed(1);
		const found = [];
		let from = 0;
		for (let i = 0; i <= upper.length; i++) {
			if (i < upper.length && upper[i] !== null) continue;
			if (i > from) {
				const there = [];
				const back = [];
				for (let j = from; j < i; j++) {
					there.push(`${x(j)} ${y(upper[j])}`);
					back.unshift(`${x(j)} ${y(lower[j] ?? 0)}`);
				}
				if (there.length === 1) there.push(there[0]);
				found.push({ line: "M" + there.join("L"), area: "M" + there.join("L") + "L" + back.join("L") + "Z" });
			}
			from = i + 1;
		}
		return found;
	};

	const last = (values) => values[values.length - 1] ?? values[values.length - 2] ?? null;
	const largest = (values) => values.reduce((most, v) => Math.max(most, v ?? 0), 0);

	const rateText = (v) => (v === 0 ? "0" : v < 9.95 ? v.toFixed(1) : Math.round(v).toLocaleString("en"));
	const timeText = (s) => (s < 0.001 ? (s === 0 ? "0" : "<1ms") : s < 1 ? Math.round(s * 1000) + "ms" : s < 10 ? s.toFixed(1) + "s" : Math.round(s) + "s");

	const colour = (layer, first) => "c" + ((layer + first) % 5);

	const drawPlot = (figure, layers, text, first = 0) => {
		const svg = find("svg", figure);
		const stacked = layers.reduce((lines, values) => {
			const below = lines.length ? lines[lines.length - 1] : values.map(() => 0);
			return [...lines, values.map((v, i) => (v === null ? null : v + (below[i] ?? 0)))];
		}, []);
		const sum = stacked.length ? stacked[stacked.length - 1] : [];
		const most = largest(sum);
		const top = most || 1;
		const shapes = [shape("path", { class: "base", d: `M0 ${height - 1}H${width}` })];
		stacked.forEach((upper, layer) => {
			const lower = layer ? stacked[layer - 1] : upper.map(() => 0);
			for (const { line, area } of areas(lower, upper, top)) {
				shapes.push(shape("path", { class: "area " + colour(layer, first), d: area }));
				shapes.push(shape("path", { class: "line " + colour(layer, first), d: line }));
			}
		});
		svg.replaceChildren(...shapes);
		const now = last(sum);
		setText(find("[data-now]", figure), now === null ? "–" : text(now));
		setText(find("[data-from]", figure), range === "fine" ? "2 min ago" : "15 min ago");
		setText(find("[data-top]", figure), most ? "up to " + text(most) : "");
	};

	const drawPlots = () => {
		const plot = plots[range];
		const section = find("[data-plots]");
		if (!plot || !section) return;
		const reasons = Object.keys(plot.rejected).sort();
		const figure = (kind) => find(`[data-plot="${kind}"]`, section);
		drawPlot(figure("admitted"), [plot.admitted], rateText);
		const silent = plot.admitted.map((v) => (v === null ? null : 0));
		drawPlot(figure("rejected"), reasons.length ? reasons.map((reason) => plot.rejected[reason]) : [silent], rateText, 1);
		drawPlot(figure("waiting"), [plot.waiting], (v) => String(Math.round(v)));
		drawPlot(figure("wait"), [plot.wait], timeText);
		const legend = find(".legend", section);
		if (legend.dataset.reasons !== reasons.join()) {
			legend.dataset.reasons = reasons.join();
			legend.replaceChildren(
				...reasons.map((reason, i) => {
					const item = document.createElement("li");
					item.className = colour(i, 1);
					item.textContent = reason.replaceAll("_", " ");
					return item;
				}),
			);
		}
	};

	for (const button of all("[data-range]")) {
		button.addEventListener("click", () => {
			range = button.dataset.range;
			for (const other of all("[data-range]")) other.setAttribute("aria-pressed", String(other === button));
			drawPlots();
		});
	}

	// The stream.

	const everywhere = new Set(["clock", "tabs", "gone", "jobs"]); // the others are for pools
	const show = {
		clock: (v) => {
			setText(find('time[data-part="clock"]'), v.at);
			const failed = find(".failed[data-part]");
			setText(failed, v.failed);
			failed.hidden = v.failed === "";
		},
		tabs: (v) => (find(".tabs").hidden = !v),
		overview: (v) => bind(find('[data-part="overview"]'), v),
		names: showNames,
		pool: showPool,
		spool: (v) => showRows(find('[data-rows="spool"]'), v, numbers),
		tables: showTables,
		detail: (v) => {
			bind(find("[data-row]"), v.row);
			showRows(find('[data-rows="times"]'), v.times, numbers);
			showUpstreams(v.upstreams);
			showFacts("facts", v.facts);
			showFacts("settings", v.settings);
			showList("waiting", v.waiting);
			showList("running", v.running);
		},
		gone: (v) => {
			const note = find("#gone");
			if (note) note.hidden = !v;
			else if (!v) location.reload(); // it is back
		},
		unserved: (v) => showEnded("unserved", v),
		slowest: (v) => showEnded("slowest", v),
		jobs: showJobs,
		fine: (v) => (plots.fine = v),
		coarse: (v) => (plots.coarse = v),
	};

	const connection = find("#connection");
	const state = (name, text) => {
		connection.dataset.state = name;
		setText(connection, text);
	};

	let stream = null;
	let again = 0;

	const disconnect = () => {
		clearTimeout(again);
		if (stream) stream.close();
		stream = null;
	};

	const connect = () => {
		disconnect();
		stream = new EventSource("?events" + location.search.replace("?", "&"));
		stream.onopen = () => state("live", "live");
		stream.onmessage = (event) => {
			for (const part of JSON.parse(event.data)) {
				const shown = show[part.kind];
				if (shown && (everywhere.has(part.kind) || find("[data-row], #pools"))) shown(part.value);
			}
			if (order.length) arrange();
			drawPlots();
		};
		stream.onerror = () => {
			state("lost", "connection lost, trying again");
			if (stream && stream.readyState === EventSource.CLOSED) again = setTimeout(connect, 3000);
		};
	};

	// A page in the background costs the server nothing.
	document.addEventListener("visibilitychange", () => {
		if (document.hidden) disconnect();
		else connect();
	});
	if (!document.hidden) connect();

	// Filters.

	for (const input of all("[data-filter]")) {
		input.addEventListener("input", () => {
			const filter = (filters[input.dataset.filter] = input.value.trim().toLowerCase());
			const shown = input.dataset.filter === "pools" ? all("#pools tr") : all("[data-list] tbody tr");
			for (const row of shown) filterRow(row, filter);
		});
		input.addEventListener("keydown", (event) => {
			if (event.key === "Enter") event.preventDefault(); // it is in a form of actions
		});
	}

	// Actions, without leaving the page.

	const message = find("#message");
	for (const form of all("form[data-action]")) {
		form.addEventListener("submit", async (event) => {
			event.preventDefault();
			const button = event.submitter;
			if (!button || (button.dataset.confirm && !confirm(button.dataset.confirm))) return;
			const fields = new URLSearchParams(new FormData(form, button));
			try {
				const answer = await fetch(location.search || "?", { method: "POST", body: fields, headers: { Accept: "application/json" } });
				const text = answer.ok ? `Done: ${button.value}.` : await answer.text();
				message.dataset.tone = answer.ok ? "good" : "bad";
				message.textContent = text;
			} catch {
				message.dataset.tone = "bad";
				message.textContent = "The server does not answer.";
			}
		});
	}
})();
