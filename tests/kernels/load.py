import subprocess
open("/tmp/p","w").write("zone lan = lo\npolicy lan -> self default drop { allow 22 }\n")
d=subprocess.run(["/reeve/build/reeve","apply","/tmp/p"],stdout=subprocess.PIPE,stderr=subprocess.STDOUT,text=True)
for l in d.stdout.splitlines(): print("#",l)
d=subprocess.run(["bpftool","prog"],stdout=subprocess.PIPE,stderr=subprocess.STDOUT,text=True)
for l in d.stdout.splitlines(): print("#",l)
print("1..1\nok 1")
