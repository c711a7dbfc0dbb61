// The tracker protocol, as the page shows it: each parameter's code, canonical name and type.

const PARAMETERS = new Map();

function rows(type, text) {
  for (const row of text.trim().split(/\s*[;\n]\s*/)) {
    const [code, ...names] = row.split(" ");
    PARAMETERS.set(code, { names, type });
  }
}

rows("event", "e event");
rows("platform", "p platform");
rows(
  "text",
  `aid app_id; tna name_tracker; tv v_tracker; uid user_id; duid domain_userid; nuid network_userid
   tnuid network_userid; ua useragent; fp user_fingerprint; lang br_lang; cd br_colordepth; tz os_timezone
   url page_url; page page_title; refr page_referrer; cs doc_charset
   ev_ca se_category; ev_ac se_action; ev_la se_label; ev_pr se_property
   se_ca se_category; se_ac se_action; se_la se_label; se_pr se_property
   tr_id tr_orderid; tr_af tr_affiliation; tr_ci tr_city; tr_st tr_state; tr_co tr_country; tr_cu tr_currency
   ti_id ti_orderid; ti_sk ti_sku; ti_na ti_name; ti_nm ti_name; ti_ca ti_category; ti_cu ti_currency`,
);
rows("ip", "ip user_ipaddress");
rows("uuid", "eid event_id; sid domain_sessionid");
rows("time", "dtm dvce_created_tstamp; stm dvce_sent_tstamp; ttm true_tstamp");
rows(
  "integer",
  `vid domain_sessionidx; tid txn_id; pp_mix pp_xoffset_min; pp_max pp_xoffset_max; pp_miy pp_yoffset_min
   pp_may pp_yoffset_max; ti_qu ti_quantity`,
);
rows("number", "ev_va se_value; se_va se_value; tr_tt tr_total; tr_tx tr_tax; tr_sh tr_shipping; ti_pr ti_price");
rows(
  "boolean",
  `cookie br_cookies; f_pdf br_features_pdf; f_fla br_features_flash; f_java br_features_java
   f_dir br_features_director; f_qt br_features_quicktime; f_realp br_features_realplayer
   f_wma br_features_windowsmedia; f_gears br_features_gears; f_ag br_features_silverlight`,
);
rows("size", "res dvce_screenwidth dvce_screenheight; vp br_viewwidth br_viewheight; ds doc_width doc_height");
rows("json", "ue_pr unstruct_event; co contexts");
rows("base64 json", "ue_px unstruct_event; cx contexts");

const EVENTS = new Map(
  Object.entries({
    pv: "page_view",
    pp: "page_ping",
    ue: "unstruct",
    se: "struct",
    tr: "transaction",
    ti: "transaction_item",
  }),
);

const PLATFORMS = new Map(
  Object.entries({
    web: "web",
    mob: "mobile",
    pc: "desktop",
    srv: "server",
    app: "app",
    tv: "television",
    cnsl: "console",
    iot: "internet of things",
    headset: "headset",
  }),
);

/** The canonical type of an event, such as `page_view` for `pv`, or undefined. */
export function eventOf(code) {
  return EVENTS.get(code);
}

/** Whether this is one of the protocol's platforms. */
export function isPlatform(text) {
  return PLATFORMS.has(text);
}

/** The column of a schema, such as `contexts_com_acme_user_data_1`; an empty string when it is no Iglu URI. */
export function columnOf(prefix, schema) {
  const [, vendor, name, , model] = /^iglu:([^/]+)\/([^/]+)\/([^/]+)\/(\d+)/.exec(schema) ?? [];
  if (vendor === undefined) return "";
  const snake = name.replaceAll(/([^A-Z_])([A-Z])/g, "$1_$2").replaceAll("-", "_");
  return `${prefix}_${vendor.replaceAll(/[.-]/g, "_")}_${snake}_${model}`.toLowerCase();
}

/** What is known of a code, `{names, type}`, or undefined. */
export function parameter(code) {
  return PARAMETERS.get(code);
}

const TYPE_BY_NAME = new Map(
  [...PARAMETERS.values()].flatMap(({ names, type }) =>
    names.map((name) => [name, type === "size" ? "integer" : type]),
  ),
);
TYPE_BY_NAME.set("collector_tstamp", "time").set("derived_tstamp", "time");

/** The protocol's type of a canonical field, or undefined. */
export function typeOfField(name) {
  return TYPE_BY_NAME.get(name);
}

/** A parameter's string in words, or undefined where the string says it all. JSON is decoded elsewhere. */
export function inWords(code, text) {
  switch (PARAMETERS.get(code)?.type) {
    case "event":
      return EVENTS.get(text);
    case "platform":
      return PLATFORMS.get(text);
    case "time":
      return isoTime(text);
    case "boolean":
      return { 1: "yes", 0: "no" }[text];
    case "size":
      return /^\d+x\d+$/.test(text) ? text.replace("x", " × ") : undefined;
    default:
      return undefined;
  }
}

function isoTime(text) {
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  return ms < 253_402_300_800_000 ? new Date(ms).toISOString() : undefined;
}

/** The text in a base64 parameter: both alphabets, any padding. Throws when it is not base64 of UTF-8. */
export function decodeBase64(text) {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/").replaceAll(/[=\s]/g, ""));
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)));
}
