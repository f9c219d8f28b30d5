// SPDX-License-Identifier: Apache-2.0
type Reason = { readonly when: string; readonly fix: string };
export const BUILD_REASONS: Readonly<Record<"clone-packages" | "clone-tools" | "clone-failed", Reason>>;
