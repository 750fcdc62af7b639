/** The page's side of the worker: calls that return promises. */

import type { Answers, Progress, Reply, Request } from "./messages";

/** Words for a person; picture: whether a picture is to blame, so that another one may do. */
export class MatchError extends Error {
  constructor(
    message: string,
    readonly picture: boolean,
  ) {
    super(message);
  }
}

interface Waiting {
  readonly resolve: (answer: Answers[keyof Answers]) => void;
  readonly reject: (error: Error) => void;
  readonly say: (progress: Progress) => void;
}

export class Matcher {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  private readonly waiting = new Map<number, Waiting>();
  private calls = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.heard(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail("The matcher stopped. Reload the page; smaller pictures need less memory.");
    };
  }

  /** Asks the worker; say hears how it goes on. Rejects with a MatchError. */
  ask<R extends Request>(
    request: R,
    say: (progress: Progress) => void = () => {},
  ): Promise<Answers[R["kind"]]> {
    const call = this.calls++;
    return new Promise((resolve, reject) => {
      this.waiting.set(call, { resolve: resolve as Waiting["resolve"], reject, say });
      this.worker.postMessage({ ...request, call });
    });
  }

  private heard(reply: Reply): void {
    const asked = this.waiting.get(reply.call);
    if (!asked) return;
    if ("progress" in reply) {
      asked.say(reply.progress);
      return;
    }
    this.waiting.delete(reply.call);
    if ("answer" in reply) asked.resolve(reply.answer);
    else asked.reject(new MatchError(reply.words, reply.picture));
  }

  private fail(words: string): void {
    for (const { reject } of this.waiting.values()) reject(new MatchError(words, false));
    this.waiting.clear();
  }
}
