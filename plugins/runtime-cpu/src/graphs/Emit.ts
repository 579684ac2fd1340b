/**
 * Every graph there is, by its kind.
 */
import type { LlamaConfig, Objective } from "@tessera/runtime"
import { attend, attendBackward, type BlockSum } from "./Attention.js"
import { decode } from "./Decode.js"
import { headBackward, logits, score } from "./Head.js"
import { post, postBackward, qkv, qkvBackward } from "./Layer.js"
import { step } from "./Step.js"
import { influence } from "./Whole.js"

export type Kind =
  | "qkv"
  | "kv"
  | "q"
  | "post"
  | "step"
  | "decode"
  | "attend"
  | "attend-sparse"
  | "logits"
  | "score"
  | "post-backward"
  | "qkv-backward"
  | `attend-backward-${BlockSum}`
  | `attend-backward-${BlockSum}-only`
  | `head-backward-${Objective}`
  | `influence-${Objective}-${BlockSum}`

/** A graph as an ONNX model file. */
export const emit = (config: LlamaConfig, kind: Kind): Uint8Array => {
  switch (kind) {
    case "qkv":
    case "kv":
    case "q":
      return qkv(config, kind)
    case "post":
      return post(config)
    case "step":
      return step(config)
    case "decode":
      return decode(config)
    case "attend":
      return attend(config.headDim, false)
    case "attend-sparse":
      return attend(config.headDim, true)
    case "logits":
      return logits(config)
    case "score":
      return score(config)
    case "post-backward":
      return postBackward(config)
    case "qkv-backward":
      return qkvBackward(config)
    case "attend-backward-signed":
      return attendBackward(config.headDim, "signed", true)
    case "attend-backward-abs":
      return attendBackward(config.headDim, "abs", true)
    case "attend-backward-signed-only":
      return attendBackward(config.headDim, "signed", false)
    case "attend-backward-abs-only":
      return attendBackward(config.headDim, "abs", false)
    case "head-backward-cross-entropy":
      return headBackward(config, "cross-entropy")
    case "head-backward-log-odds":
      return headBackward(config, "log-odds")
    case "influence-cross-entropy-signed":
      return influence(config, "cross-entropy", "signed")
    case "influence-cross-entropy-abs":
      return influence(config, "cross-entropy", "abs")
    case "influence-log-odds-signed":
      return influence(config, "log-odds", "signed")
    case "influence-log-odds-abs":
      return influence(config, "log-odds", "abs")
  }
}
