// Pages: `await` gives the first one, `for await` walks through all of them.

/** One page of a list: an array that also knows where the next page begins. */
export type Page<T> = T[] & {
  /** Empty when there are no more; goes into `pageToken`. */
  nextPageToken: string;
};

/** What every list takes. */
export interface ListOptions {
  /** Items a page; 50 by default, at most 500. */
  pageSize?: number;
  /** Where to begin: a page's `nextPageToken`. From the first page by default. */
  pageToken?: string;
  signal?: AbortSignal;
}

type Fetch<T> = (pageToken: string) => Promise<{ items: T[]; nextPageToken: string }>;

/**
 * A list that has not been asked for yet. `await list` fetches its first page; `for await (const
 * item of list)` fetches page by page, as far as the loop goes. Newest first.
 */
export class List<T> implements PromiseLike<Page<T>>, AsyncIterable<T> {
  readonly #fetch: Fetch<T>;
  readonly #first: string;

  constructor(fetch: Fetch<T>, first = "") {
    this.#fetch = fetch;
    this.#first = first;
  }

  then<A = Page<T>, B = never>(
    onFulfilled?: ((page: Page<T>) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#page(this.#first).then(onFulfilled, onRejected);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    let token = this.#first;
    do {
      const page = await this.#page(token);
      yield* page;
      token = page.nextPageToken;
    } while (token !== "");
  }

  async #page(token: string): Promise<Page<T>> {
    const { items, nextPageToken } = await this.#fetch(token);
    return Object.assign(items, { nextPageToken });
  }
}
