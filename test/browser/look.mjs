// Opens a page in a real browser in the ways that people do, and prints what is wrong
// with it as JSON: look.mjs BROWSER FILE OUT
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [browserPath, file, out] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const found = { errors: [], requests: [], axe: [], overflow: [], links: [], text: "", pages: 0 };

// --no-sandbox: the tests run as root, and open only what they have written themselves.
const browser = await puppeteer.launch({ executablePath: browserPath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
try {
  for (const way of [
    { name: "desktop", width: 1280, height: 900, scheme: "light" },
    { name: "dark", width: 1280, height: 900, scheme: "dark" },
    { name: "phone", width: 390, height: 844, scheme: "light" },
  ]) {
    const page = await browser.newPage();
    page.on("console", (m) => ["error", "warn"].includes(m.type()) && found.errors.push(`${way.name}: ${m.text()}`));
    page.on("pageerror", (e) => found.errors.push(`${way.name}: ${e.message}`));
    page.on("request", (r) => !r.url().startsWith(pathToFileURL(file).href) && found.requests.push(r.url()));
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: way.scheme }]);
    await page.setViewport({ width: way.width, height: way.height });
    await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
    await page.screenshot({ path: `${out}/${way.name}.png` });
    await page.evaluate(axe);
    const result = await page.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations);
    for (const v of result) found.axe.push(`${way.name}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wide > 0) found.overflow.push(`${way.name}: ${wide} pixels`);
    if (way.name === "desktop") {
      found.text = await page.evaluate(() => document.body.innerText);
      // Every link is followed: within the page to what is there, else to a file.
      found.links = await page.evaluate(() => [...document.querySelectorAll("a[href]")].map((a) => a.getAttribute("href"))
        .filter((h) => h.startsWith("#") ? !document.getElementById(h.slice(1)) : false));
      await page.evaluate(() => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
      const pdf = await page.pdf({ format: "A4", printBackground: true });
      writeFileSync(`${out}/page.pdf`, pdf);
      found.pages = (Buffer.from(pdf).toString("latin1").match(/\/Type\s*\/Page\b/g) ?? []).length;
    }
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
