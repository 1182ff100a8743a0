"""Streams in this format's notation, most of them of the worked examples."""

from __future__ import annotations

PLAIN = """
M u(118,0,0,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"Hel"}
d0 {"type":"text_delta","text":"lo."}
E0
X {"stop_reason":"end_turn","stop_sequence":null} u(20,0,100,3)
S
"""
PARALLEL = r"""
M u(50,0,0,1)
B0 {"type":"tool_use","id":"call_a","name":"f","input":{}}
d0 {"type":"input_json_delta","partial_json":"{\"x\":"}
d0 {"type":"input_json_delta","partial_json":"1}"}
E0
B1 {"type":"tool_use","id":"call_b","name":"g","input":{}}
d1 {"type":"input_json_delta","partial_json":"{\"y\""}
d1 {"type":"input_json_delta","partial_json":":2}"}
E1
X {"stop_reason":"tool_use","stop_sequence":null} u(50,0,0,20)
S
"""
REASONING = r"""
M u(60,0,0,1)
B0 {"type":"thinking","thinking":"","signature":""}
d0 {"type":"thinking_delta","thinking":"Need weather."}
d0 {"type":"signature_delta","signature":"EqQB"}
E0
B1 {"type":"text","text":""}
d1 {"type":"text_delta","text":"Checking."}
E1
B2 {"type":"tool_use","id":"toolu_1","name":"get_weather","input":{}}
d2 {"type":"input_json_delta","partial_json":"{\"city\":"}
d2 {"type":"input_json_delta","partial_json":"\"Oslo\"}"}
E2
X {"stop_reason":"tool_use","stop_sequence":null} u(60,0,0,45)+{"output_tokens_details":{"thinking_tokens":12}}
S
"""
STOP_SEQUENCE = """
M u(20,300,1000,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"A, B"}
E0
X {"stop_reason":"stop_sequence","stop_sequence":"END"} u(20,300,1000,5)
S
"""
MAX_TOKENS = """
M u(9,0,0,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"Once upon"}
E0
X {"stop_reason":"max_tokens","stop_sequence":null} u(9,0,0,2)
S
"""
CLASSIFIER = """
M u(15,0,0,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"Step 1"}
E0
X {"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":"bio","explanation":"Declined."}} u(15,0,0,4)
S
"""  # noqa: E501
FAILED = """
M u(8,0,0,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"Hi"}
{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}
"""
SIGNED_CALL = r"""
M u(31,0,0,1)
B0 {"type":"thinking","thinking":"","signature":""}
d0 {"type":"thinking_delta","thinking":"Look it up."}
d0 {"type":"signature_delta","signature":"oa1.gemini.Y"}
E0
B1 {"type":"tool_use","id":"call_1","name":"get_weather","input":{}}
d1 {"type":"input_json_delta","partial_json":"{\"city\":\"Oslo\"}"}
E1
X {"stop_reason":"tool_use","stop_sequence":null} u(31,0,0,62)+{"output_tokens_details":{"thinking_tokens":40}}
S
"""
CITED = """
M u(90,0,0,1)
B0 {"type":"text","text":""}
d0 {"type":"text_delta","text":"Paris é "}
d0 {"type":"text_delta","text":"big."}
d0 {"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://e.org","title":"E","encrypted_index":"enc","cited_text":"Paris is big"}}
E0
X {"stop_reason":"end_turn","stop_sequence":null} u(90,0,0,7)+{"server_tool_use":{"web_search_requests":1,"web_fetch_requests":0}}
S
"""  # noqa: E501
SERVER_TOOL = r"""
M u(70,0,0,1)
B0 {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}
d0 {"type":"input_json_delta","partial_json":"{\"query\":\"oslo\"}"}
E0
B1 {"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://e.org","title":"E","encrypted_content":"enc","page_age":null}]}
E1
B2 {"type":"redacted_thinking","data":"AAAA"}
E2
B3 {"type":"thinking","thinking":"","signature":""}
d3 {"type":"signature_delta","signature":"EqQB"}
E3
B4 {"type":"text","text":""}
d4 {"type":"text_delta","text":"Done."}
E4
X {"stop_reason":"end_turn","stop_sequence":null} u(70,0,0,9)+{"server_tool_use":{"web_search_requests":1,"web_fetch_requests":0}}
S
"""  # noqa: E501
COMPLETE = {
    "plain": PLAIN,
    "parallel": PARALLEL,
    "reasoning": REASONING,
    "stop_sequence": STOP_SEQUENCE,
    "max_tokens": MAX_TOKENS,
    "classifier": CLASSIFIER,
    "cited": CITED,
    "server_tool": SERVER_TOOL,
}
"""What an upstream of this format sends, and what our encoder makes of its events."""
