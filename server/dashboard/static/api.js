// Fetching from the API, and telling people what went wrong.

export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== "" && each != null) query.append(name, each);
  }
  const answer = await fetch(`/api/v1/${path}${query.size ? `?${query}` : ""}`);
  const body = await answer.json().catch(() => ({ message: `the dashboard answered ${answer.status}` }));
  if (!answer.ok) throw new Error(body.message);
  return body;
}

// Runs `work`; an error stands at the top of the page until the next success.
export async function attempt(work) {
  const problem = document.getElementById("problem");
  try {
    await work();
    problem.hidden = true;
    return true;
  } catch (error) {
    const isAway = error instanceof TypeError && /fetch/i.test(error.message);
    problem.textContent = isAway ? "The dashboard does not answer; is it still running?" : error.message;
    problem.hidden = false;
    if (error instanceof TypeError && !isAway) throw error;
    return false;
  }
}

// Runs `work` now and every `seconds` after it has ended, while somebody looks at the page.
export function poll(work, seconds = 2) {
  const again = async () => {
    if (!document.hidden) await attempt(work);
    setTimeout(again, seconds * 1000);
  };
  return again();
}
